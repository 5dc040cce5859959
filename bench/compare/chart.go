//go:build linux

package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/fullduplex-go/websocket/bench/measure"
	"github.com/fullduplex-go/websocket/bench/peer"
)

// A chart shows some rows: for each row a bar for each peer, as long as its
// share of the highest cost in the row.
type chart struct {
	file, title string
	peers       []peer.Peer
	lines       []measure.Line
}

// charts returns the charts that have rows to show.
func (r *report) charts() []chart {
	all := []chart{
		{file: "echo.svg", title: "CPU time per echoed message, µs"},
		{file: "tls.svg", title: "CPU time per echoed message over TLS, µs"},
		{file: "client.svg", title: "CPU time per message echoed by a client, µs"},
		{file: "server.svg", title: "CPU time per broadcast message and per handshake, µs"},
		{file: "memory.svg", title: "Heap and stack per idle connection, bytes"},
	}
	for _, l := range r.lines {
		if l.Row.Kind != measure.Quiet {
			at := chartOf(l.Row)
			all[at].lines = append(all[at].lines, l)
		}
	}
	var used []chart
	for _, c := range all {
		if c.peers = r.choice.peers; len(c.lines) > 0 {
			used = append(used, c)
		}
	}
	return used
}

// chartOf returns the index of the chart that shows the row, which is not about
// silence.
func chartOf(row measure.Row) int {
	switch {
	case row.Kind == measure.Idle:
		return 4
	case row.Kind == measure.EchoClient:
		return 2
	case row.Kind != measure.Echo:
		return 3
	case row.TLS:
		return 1
	default:
		return 0
	}
}

// Measures of a chart in pixels.
const (
	barHeight = 14
	barStep   = 17
	rowGap    = 16
	leftEdge  = 300
	barRoom   = 420
	width     = 800
	topEdge   = 50
)

// style has colors for light and dark backgrounds.
const style = `text{font:12px system-ui,sans-serif;fill:#555}` +
	`.title{font-size:15px;font-weight:600}.row{font-weight:600}` +
	`.bar{fill:#9aa5b1}.ours{fill:#1a7f5a}.parked{fill:#3f9c7a}.floor{fill:#d5d9de}` +
	`@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.bar{fill:#6b7785}.ours{fill:#3fb68b}.parked{fill:#2f8f6c}.floor{fill:#3d444d}}`

// svg draws the chart.
func (c chart) svg() []byte {
	var body bytes.Buffer
	y := topEdge
	for _, l := range c.lines {
		y = c.drawRow(&body, l, y) + rowGap
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label=%q><style>%s</style>`,
		width, y, html.EscapeString(c.title), style)
	fmt.Fprintf(&b, `<text class="title" x="16" y="26">%s</text>`, html.EscapeString(c.title))
	b.Write(body.Bytes())
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// drawRow draws the bars of one row from y on, and returns where they end.
func (c chart) drawRow(b *bytes.Buffer, l measure.Line, y int) int {
	highest := 0.0
	for _, p := range c.peers {
		if m, ok := l.Median(p.Name()); ok {
			highest = max(highest, m.Cost())
		}
	}
	fmt.Fprintf(b, `<text class="row" x="16" y="%d">%s</text>`, y+barHeight-3, html.EscapeString(l.Row.Name))
	for _, p := range c.peers {
		m, ok := l.Median(p.Name())
		if !ok {
			continue
		}
		long := max(1, m.Cost()/highest*barRoom)
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, leftEdge-8, y+barHeight-3, p.Name())
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`, class(p), leftEdge, y, long, barHeight)
		fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`, leftEdge+long+6, y+barHeight-3, strings.TrimSuffix(digits(m.Cost()), ".00"))
		y += barStep
	}
	return y
}

// class returns the style of the bar of p.
func class(p peer.Peer) string {
	switch p.Name() {
	case measure.Ours, measure.Parked, peer.Floor.Name():
		return p.Name()
	default:
		return "bar"
	}
}
