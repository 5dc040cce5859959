// Package report writes results in the form of the suite's own reports, an
// index.json and an HTML page, and compares two indexes.
package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
)

// An Entry is what an index says about one case.
type Entry struct {
	Behavior        judge.Verdict `json:"behavior"`
	BehaviorClose   judge.Verdict `json:"behaviorClose"`
	RemoteCloseCode *int          `json:"remoteCloseCode"` // nil: none
	Duration        int64         `json:"duration"`        // milliseconds
	ReportFile      string        `json:"reportfile,omitempty"`
}

// An Index maps agents to cases to entries.
type Index map[string]map[string]Entry

// Read returns the index in a file.
func Read(path string) (Index, error) {
	p, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var index Index
	if err := json.Unmarshal(p, &index); err != nil {
		return nil, fmt.Errorf("report: %s: %w", path, err)
	}
	return index, nil
}

// Add adds the agents of other to x. An agent that is in both gets a number.
func (x Index) Add(other Index) {
	for _, agent := range slices.Sorted(maps.Keys(other)) {
		name := agent
		for n := 2; x[name] != nil; n++ {
			name = agent + " " + strconv.Itoa(n)
		}
		x[name] = other[agent]
	}
}

// Results are those of one agent, by case.
type Results map[string]*judge.Result

// Count returns how many results are strict, unimplemented, and wrong.
func (r Results) Count() (strict, unimplemented, wrong int) {
	for _, result := range r {
		switch {
		case result.Strict():
			strict++
		case result.Behavior == judge.Unimplemented:
			unimplemented++
		default:
			wrong++
		}
	}
	return strict, unimplemented, wrong
}

// Write writes index.json, index.html and a file for each case to a directory,
// which it creates.
func Write(dir string, agents map[string]Results) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	index := Index{}
	for agent, results := range agents {
		entries := map[string]Entry{}
		for id, r := range results {
			file := fileName(agent, id)
			if err := writeJSON(filepath.Join(dir, file), detail(agent, r)); err != nil {
				return err
			}
			entries[id] = entry(r, file)
		}
		index[agent] = entries
	}
	return WriteIndex(dir, index)
}

// WriteIndex writes index.json and index.html to a directory, which it creates.
func WriteIndex(dir string, index Index) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(dir, "index.json"), index); err != nil {
		return err
	}
	return writePage(filepath.Join(dir, "index.html"), index)
}

// entry returns the entry of a result.
func entry(r *judge.Result, file string) Entry {
	e := Entry{Behavior: r.Behavior, BehaviorClose: r.BehaviorClose, Duration: r.Duration.Milliseconds(), ReportFile: file}
	if r.CloseCode != 0 {
		e.RemoteCloseCode = &r.CloseCode
	}
	return e
}

var notInFileNames = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// fileName returns the name of a case's file, as the suite makes it.
func fileName(agent, id string) string {
	return notInFileNames.ReplaceAllString(agent, "_") + "_case_" + strings.ReplaceAll(id, ".", "_") + ".json"
}

// A caseReport is the content of a case's file.
type caseReport struct {
	Agent             string        `json:"agent"`
	ID                string        `json:"id"`
	Description       string        `json:"description"`
	Behavior          judge.Verdict `json:"behavior"`
	BehaviorClose     judge.Verdict `json:"behaviorClose"`
	Expected          string        `json:"expected"`
	Received          string        `json:"received"`
	RemoteCloseCode   *int          `json:"remoteCloseCode"`
	RemoteCloseReason string        `json:"remoteCloseReason"`
	Duration          int64         `json:"duration"`
	Extension         string        `json:"extension,omitempty"`
	FarthestMatch     int           `json:"farthestMatch,omitempty"` // octets
	Notes             []string      `json:"notes"`
}

// detail returns the content of a case's file.
func detail(agent string, r *judge.Result) *caseReport {
	e := entry(r, "")
	d := &caseReport{
		Agent: agent, ID: r.ID, Behavior: r.Behavior, BehaviorClose: r.BehaviorClose,
		Expected: r.Expected, Received: r.Received,
		RemoteCloseCode: e.RemoteCloseCode, RemoteCloseReason: r.CloseReason, Duration: e.Duration,
		Extension: r.Extension, FarthestMatch: r.Farthest, Notes: append([]string{}, r.Notes...),
	}
	if c := conversation.Find(r.ID); c != nil {
		d.Description = c.Description()
	}
	return d
}

// writeJSON writes v to a file.
func writeJSON(path string, v any) error {
	p, err := json.MarshalIndent(v, "", "   ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(p, '\n'), 0o666)
}

// A Difference is a case whose verdicts are not the expected ones. An Entry
// without verdicts stands for a missing case.
type Difference struct {
	Agent, ID string
	Want, Got Entry
}

// String returns the difference on one line.
func (d Difference) String() string {
	return fmt.Sprintf("%s %s: %s, expected %s", d.Agent, d.ID, d.Got, d.Want)
}

// String returns both verdicts.
func (e Entry) String() string {
	if e.Behavior == "" && e.BehaviorClose == "" {
		return "no result"
	}
	return fmt.Sprintf("%s / %s", e.Behavior, e.BehaviorClose)
}

// Compare returns how the verdicts in got differ from those in want, for the
// agents of want. A case that is in only one of them is a difference.
func Compare(want, got Index) []Difference {
	var differences []Difference
	for _, agent := range slices.Sorted(maps.Keys(want)) {
		ids := maps.Clone(want[agent])
		maps.Copy(ids, got[agent])
		for _, id := range slices.SortedFunc(maps.Keys(ids), compareIDs) {
			w, g := want[agent][id], got[agent][id]
			if w.Behavior != g.Behavior || w.BehaviorClose != g.BehaviorClose {
				differences = append(differences, Difference{agent, id, w, g})
			}
		}
	}
	return differences
}

// compareIDs orders IDs by their numbers.
func compareIDs(a, b string) int {
	return slices.CompareFunc(strings.Split(a, "."), strings.Split(b, "."), func(a, b string) int {
		m, _ := strconv.Atoi(a)
		n, _ := strconv.Atoi(b)
		return cmp.Or(cmp.Compare(m, n), cmp.Compare(a, b))
	})
}

// Expected returns the index of faultless agents.
func Expected(agents ...string) Index {
	index := Index{}
	for _, agent := range agents {
		index[agent] = map[string]Entry{}
		for _, c := range conversation.All() {
			e := Entry{Behavior: judge.OK, BehaviorClose: judge.OK}
			if c.Informational {
				e = Entry{Behavior: judge.Informational, BehaviorClose: judge.Informational}
			}
			index[agent][c.ID] = e
		}
	}
	return index
}
