package report

import (
	"html/template"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
)

// page shows the agents of an index side by side.
var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>WebSocket conversations</title>
<style>
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; background: #fff; }
table { border-collapse: collapse; }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums; }
th[colspan] { padding-top: 1.5rem; }
.good { background: #d9f2dd; } .fair { background: #fdf3c7; } .note { background: #dcebfb; } .none { background: #eee; } .bad { background: #f9d4d0; }
a { color: inherit; }
small { color: #666; }
</style>
</head>
<body>
<h1>WebSocket conversations</h1>
<table>
<tr><th>Agent</th><th>strictly OK</th><th>informational</th><th>non-strict</th><th>unimplemented</th><th>failed</th></tr>
{{range .Totals}}<tr><td>{{.Agent}}</td><td>{{.Good}}</td><td>{{.Note}}</td><td>{{.Fair}}</td><td>{{.None}}</td><td>{{.Bad}}</td></tr>
{{end}}</table>
<table>
{{range .Groups}}<tr><th colspan="{{$.Columns}}">{{.Title}}</th></tr>
<tr><th>Case</th>{{range $.Agents}}<th>{{.}}</th>{{end}}</tr>
{{range .Rows}}<tr><td>{{.ID}}</td>{{range .Cells}}<td class="{{.Class}}">{{if .File}}<a href="{{.File}}">{{.Text}}</a>{{else}}{{.Text}}{{end}} <small>{{.Small}}</small></td>{{end}}</tr>
{{end}}{{end}}</table>
</body>
</html>
`))

// pageData is the data of the page.
type pageData struct {
	Agents  []string
	Columns int
	Totals  []*total
	Groups  []*group
}

// A total counts the cells of an agent by class.
type total struct {
	Agent                       string
	Good, Note, Fair, None, Bad int
}

// A group is the cases of one category.
type group struct {
	Title string
	Rows  []row
}

type row struct {
	ID    string
	Cells []cell
}

type cell struct{ Class, Text, Small, File string }

// writePage writes an HTML page that shows an index to a file.
func writePage(path string, index Index) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := page.Execute(f, newPageData(index)); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// newPageData sorts an index into the page's tables.
func newPageData(index Index) *pageData {
	data := &pageData{Agents: slices.Sorted(maps.Keys(index))}
	data.Columns = len(data.Agents) + 1
	ids := map[string]bool{}
	for _, agent := range data.Agents {
		data.Totals = append(data.Totals, &total{Agent: agent})
		for id := range index[agent] {
			ids[id] = true
		}
	}
	title := ""
	for _, id := range slices.SortedFunc(maps.Keys(ids), compareIDs) {
		category, _, _ := strings.Cut(id, ".")
		n, _ := strconv.Atoi(category)
		if t := category + " " + conversation.CategoryNames[n]; t != title {
			title = t
			data.Groups = append(data.Groups, &group{Title: t})
		}
		r := row{ID: id}
		for i, agent := range data.Agents {
			e := index[agent][id]
			r.Cells = append(r.Cells, newCell(e))
			data.Totals[i].add(e)
		}
		g := data.Groups[len(data.Groups)-1]
		g.Rows = append(g.Rows, r)
	}
	return data
}

// class returns the style of an entry.
func class(e Entry) string {
	switch {
	case e.Behavior == "" || e.Behavior == judge.Unimplemented:
		return "none"
	case e.Behavior == judge.Informational:
		return "note"
	case e.Behavior == judge.OK && e.BehaviorClose == judge.OK:
		return "good"
	case e.Behavior == judge.NonStrict && e.BehaviorClose == judge.OK:
		return "fair"
	default:
		return "bad"
	}
}

// add counts an entry.
func (t *total) add(e Entry) {
	switch class(e) {
	case "none":
		t.None++
	case "note":
		t.Note++
	case "good":
		t.Good++
	case "fair":
		t.Fair++
	default:
		t.Bad++
	}
}

// newCell returns the cell of an entry.
func newCell(e Entry) cell {
	if e.Behavior == "" {
		return cell{Class: "none", Text: "–"}
	}
	c := cell{Class: class(e), Text: string(e.Behavior), File: e.ReportFile, Small: strconv.FormatInt(e.Duration, 10) + " ms"}
	if e.BehaviorClose != e.Behavior {
		c.Text += ", close " + string(e.BehaviorClose)
	}
	if e.RemoteCloseCode != nil {
		c.Small += ", " + strconv.Itoa(*e.RemoteCloseCode)
	} else {
		c.Small += ", no code"
	}
	return c
}
