package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
)

func TestWriteAndRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "reports")
	agents := map[string]Results{"my agent": {
		"1.1.1":  {ID: "1.1.1", Behavior: judge.OK, BehaviorClose: judge.OK, CloseCode: 1000, Duration: 3 * time.Millisecond},
		"2.10":   {ID: "2.10", Behavior: judge.Failed, BehaviorClose: judge.Unclean, Notes: []string{"<why>"}},
		"7.13.1": {ID: "7.13.1", Behavior: judge.Informational, BehaviorClose: judge.Informational},
		"12.1.1": {ID: "12.1.1", Behavior: judge.Unimplemented, BehaviorClose: judge.OK},
		"3.2":    {ID: "3.2", Behavior: judge.NonStrict, BehaviorClose: judge.OK},
	}}
	if strict, unimplemented, wrong := agents["my agent"].Count(); strict != 2 || unimplemented != 1 || wrong != 2 {
		t.Errorf("Count: %d, %d, %d", strict, unimplemented, wrong)
	}
	if err := Write(dir, agents); err != nil {
		t.Fatal(err)
	}
	index, err := Read(filepath.Join(dir, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	e := index["my agent"]["1.1.1"]
	if e.Behavior != judge.OK || e.BehaviorClose != judge.OK || *e.RemoteCloseCode != 1000 || e.Duration != 3 || e.ReportFile != "my_agent_case_1_1_1.json" {
		t.Errorf("entry %+v", e)
	}
	if e := index["my agent"]["2.10"]; e.RemoteCloseCode != nil {
		t.Errorf("close code %d", *e.RemoteCloseCode)
	}
	detail, err := os.ReadFile(filepath.Join(dir, "my_agent_case_2_10.json"))
	if err != nil || !strings.Contains(string(detail), "why") || !strings.Contains(string(detail), "payload-9") {
		t.Errorf("case file: %v\n%s", err, detail)
	}
	html, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<td>my agent</td><td>1</td><td>1</td><td>1</td><td>1</td><td>1</td>",
		`<td class="bad"><a href="my_agent_case_2_10.json">FAILED, close UNCLEAN</a> <small>0 ms, no code</small></td>`,
		"12 Compression: kinds of payload",
	} {
		if !strings.Contains(string(html), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Index(string(html), ">2.10<") > strings.Index(string(html), ">3.2<") {
		t.Error("cases are not in order")
	}
}

func TestCompare(t *testing.T) {
	want := Expected("a", "b")
	got := Expected("a", "b", "other")
	if d := Compare(want, got); len(d) != 0 {
		t.Fatalf("differences between equals: %v", d)
	}
	got["a"]["2.10"] = Entry{Behavior: judge.NonStrict, BehaviorClose: judge.OK}
	got["a"]["7.7.3"] = Entry{Behavior: judge.OK, BehaviorClose: judge.WrongCode}
	delete(got["b"], "1.1.1")
	got["b"]["14.1"] = Entry{Behavior: judge.OK, BehaviorClose: judge.OK}
	got["b"]["13.3.1"] = Entry{Behavior: judge.Unimplemented, BehaviorClose: judge.OK}
	var lines []string
	for _, d := range Compare(want, got) {
		lines = append(lines, d.String())
	}
	const all = `a 2.10: NON-STRICT / OK, expected OK / OK
a 7.7.3: OK / WRONG CODE, expected OK / OK
b 1.1.1: no result, expected OK / OK
b 13.3.1: UNIMPLEMENTED / OK, expected OK / OK
b 14.1: OK / OK, expected no result`
	if s := strings.Join(lines, "\n"); s != all {
		t.Errorf("got\n%s\nwant\n%s", s, all)
	}
	if d := Compare(want, Index{}); len(d) != 2*517 {
		t.Errorf("%d differences from nothing", len(d))
	}
}

func TestAdd(t *testing.T) {
	index := Index{"a": {"1.1.1": {Behavior: judge.OK}}}
	index.Add(Index{"a": {"1.1.1": {Behavior: judge.Failed}}, "b": {}})
	if len(index) != 3 || index["a"]["1.1.1"].Behavior != judge.OK || index["a 2"]["1.1.1"].Behavior != judge.Failed {
		t.Errorf("%v", index)
	}
}
