package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/report"
)

var update = flag.Bool("update", false, "write expected.json")

// TestExpected compares expected.json with the table: every case strictly OK,
// nothing left out.
func TestExpected(t *testing.T) {
	want := report.Expected(serverAgent, clientAgent)
	if *update {
		p, err := json.MarshalIndent(want, "", "   ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("expected.json", append(p, '\n'), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	got, err := report.Read("expected.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range append(report.Compare(want, got), report.Compare(got, want)...) {
		t.Error(d)
	}
	informational := 0
	for _, e := range got[serverAgent] {
		if e.Behavior == judge.Informational {
			informational++
		}
	}
	if len(got[serverAgent]) != 517 || len(got[clientAgent]) != 517 || informational != 3 {
		t.Errorf("%d and %d cases, %d of them informational", len(got[serverAgent]), len(got[clientAgent]), informational)
	}
}

// TestConfigurations checks that nothing is excluded from the official runs, and
// that the suite's addresses are those of the testees.
func TestConfigurations(t *testing.T) {
	type server struct{ Agent, URL string }
	type configuration struct {
		Cases        []string
		Exclude      []string       `json:"exclude-cases"`
		ExcludeAgent map[string]any `json:"exclude-agent-cases"`
		URL          string
		Servers      []server
	}
	everything := configuration{Cases: []string{"*"}, Exclude: []string{}, ExcludeAgent: map[string]any{}}
	asClient, asServer := everything, everything
	asClient.Servers = []server{{serverAgent, "ws://" + serverAddress}}
	asServer.URL = suiteURL
	for file, want := range map[string]configuration{"fuzzingclient.json": asClient, "fuzzingserver.json": asServer} {
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got configuration
		if err := json.Unmarshal(p, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", file, got, want)
		}
		if bytes.Contains(p, []byte("webport")) {
			t.Errorf("%s has webport, which the suite ignores", file)
		}
	}
}

// A buffer is a bytes.Buffer for several goroutines. It sends the first line on
// first.
type buffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	first chan string
}

func newBuffer() *buffer { return &buffer{first: make(chan string, 1)} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.b.Len() == 0 {
		b.first <- string(p)
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// background runs a command that listens until the test ends, and returns the
// URL in its first line.
func background(t *testing.T, args ...string) string {
	ctx, stop := context.WithCancel(t.Context())
	out := newBuffer()
	done := make(chan error, 1)
	go func() { done <- run(ctx, args, out) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", args[0], err)
		}
	})
	select {
	case line := <-out.first:
		return strings.TrimSpace(line[strings.Index(line, "ws://"):])
	case err := <-done:
		t.Fatal(err)
		return ""
	}
}

const someCases = "1.1.*,2.1?,7.3.*"

func TestJudgeServerCommand(t *testing.T) {
	t.Parallel()
	url := background(t, "server", "-addr", "127.0.0.1:0")
	dir := t.TempDir()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"judge", "-url", url, "-agent", "me", "-cases", someCases, "-patience", "10", "-parallel", "4", "-out", dir}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if want := "me: 16 of 16 strictly OK, 0 unimplemented, 0 not"; !strings.Contains(out.String(), want) {
		t.Errorf("output lacks %q:\n%s", want, &out)
	}
	index, err := report.Read(filepath.Join(dir, "index.json"))
	if err != nil || len(index["me"]) != 16 {
		t.Errorf("%d entries, %v", len(index["me"]), err)
	}
}

// TestJudgeFindsFaults judges a server that refuses every connection.
func TestJudgeFindsFaults(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var out bytes.Buffer
	err = run(t.Context(), []string{"judge", "-url", "ws://" + l.Addr().String(), "-cases", "1.1.1"}, &out)
	if !errors.Is(err, errNotStrict) || !strings.Contains(out.String(), "0 of 1 strictly OK") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestClientCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	url := background(t, "judge", "-listen", "127.0.0.1:0", "-cases", someCases, "-patience", "10", "-out", dir)
	if err := run(t.Context(), []string{"client", "-url", strings.TrimSuffix(url, "/"), "-agent", "me"}, newBuffer()); err != nil {
		t.Fatal(err)
	}
	index, err := report.Read(filepath.Join(dir, "index.json"))
	if err != nil || len(index["me"]) != 16 {
		t.Errorf("%d entries, %v", len(index["me"]), err)
	}
}

// TestClientWaits starts the client before the judge: it waits.
func TestClientWaits(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	out, ended := newBuffer(), make(chan error, 1)
	go func() { ended <- run(t.Context(), []string{"client", "-url", "ws://" + address, "-agent", "me"}, out) }()
	select {
	case line := <-out.first:
		if want := "waiting for " + address + "\n"; line != want {
			t.Errorf("the client prints %q, want %q", line, want)
		}
	case err := <-ended:
		t.Fatalf("the client did not wait: %v", err)
	}
	background(t, "judge", "-listen", address, "-cases", someCases, "-patience", "10", "-out", t.TempDir())
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestHostOf(t *testing.T) {
	for address, want := range map[string]string{
		"ws://127.0.0.1:9002": "127.0.0.1:9002", "ws://h": "h:80", "wss://h/": "h:443", "ws://[::1]": "[::1]:80",
		"http://h": "", "h:9002": "", "ws://": "", "ws://h:x": "",
	} {
		if got, err := hostOf(address); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", address, got, err, want)
		}
	}
}

func TestReportCommand(t *testing.T) {
	t.Parallel()
	first, second := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	var out bytes.Buffer
	if err := run(t.Context(), []string{"report", "-cases", someCases, "-patience", "10", "-parallel", "4", "-out", first}, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	index := filepath.Join(first, "index.json")
	if err := run(t.Context(), []string{"report", "-out", second, index, index}, &out); err != nil {
		t.Fatal(err)
	}
	merged, err := report.Read(filepath.Join(second, "index.json"))
	if err != nil || len(merged) != 4 || len(merged[clientAgent+" 2"]) != 16 {
		t.Errorf("%d agents, %v", len(merged), err)
	}
}

func TestCompareCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := report.Expected(serverAgent, clientAgent)
	if err := report.WriteIndex(dir, got); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	args := []string{"compare", "expected.json", filepath.Join(dir, "index.json")}
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	got[clientAgent]["6.4.1"] = report.Entry{Behavior: judge.NonStrict, BehaviorClose: judge.OK}
	if err := report.WriteIndex(dir, got); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := run(t.Context(), args, &out); err == nil || !strings.Contains(out.String(), clientAgent+" 6.4.1: NON-STRICT / OK, expected OK / OK") {
		t.Errorf("%v\n%s", err, &out)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"other"}, {"judge"}, {"judge", "-url", "a", "-listen", "b"}, {"server", "x"}, {"compare"}, {"judge", "-url", "ws://x", "-cases", "99.*"}} {
		if err := run(t.Context(), args, newBuffer()); err == nil {
			t.Errorf("autobahn %q is accepted", args)
		}
	}
}

// fakeSuite is set in the environment of a test binary that acts as wstest.
const fakeSuite = "AUTOBAHN_FAKE_WSTEST"

// runFakeSuite acts as wstest by means of the judge.
func runFakeSuite(args []string) error {
	flags := flag.NewFlagSet("wstest", flag.ContinueOnError)
	mode, spec, webport := flags.String("m", "", ""), flags.String("s", "", ""), flags.Int("u", 8080, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	p, err := os.ReadFile(*spec)
	if err != nil {
		return err
	}
	var c struct {
		configuration
		Cases []string
	}
	if err := json.Unmarshal(p, &c); err != nil {
		return err
	}
	if *mode == "fuzzingserver" && *webport != 0 {
		return fmt.Errorf("a web page is served on port %d", *webport)
	}
	common := []string{"-cases", strings.Join(c.Cases, ","), "-out", c.OutDir, "-patience", "10"}
	if *mode == "fuzzingclient" {
		return run(context.Background(), append([]string{"judge", "-url", c.Servers[0].URL, "-agent", serverAgent}, common...), os.Stdout)
	}
	return run(context.Background(), append([]string{"judge", "-listen", strings.TrimPrefix(c.URL, "ws://")}, common...), os.Stdout)
}

// TestOfficialCommand runs the official command with our own judge in place of
// wstest, and checks that the reports are compared.
func TestOfficialCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	dir, bin := t.TempDir(), t.TempDir()
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec env %s=1 '%s' \"$@\"\n", fakeSuite, test)
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(bin, "wstest"), script)
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	write(filepath.Join(dir, "fuzzingclient.json"), fmt.Sprintf(`{"outdir": "./reports/servers", "cases": ["1.1.*", "7.13.*"],
		"servers": [{"agent": %q, "url": "ws://%s"}]}`, serverAgent, freeAddress(t)))
	write(filepath.Join(dir, "fuzzingserver.json"), fmt.Sprintf(`{"outdir": "./reports/clients", "cases": ["1.1.*", "7.13.*"], "url": "ws://%s"}`, freeAddress(t)))
	expected := report.Index{serverAgent: {}, clientAgent: {}}
	for agent, cases := range report.Expected(serverAgent, clientAgent) {
		for id, e := range cases {
			if strings.HasPrefix(id, "1.1.") || strings.HasPrefix(id, "7.13.") {
				expected[agent][id] = e
			}
		}
	}
	writeExpected := func() {
		p, _ := json.Marshal(expected)
		write(filepath.Join(dir, "expected.json"), string(p))
	}
	writeExpected()
	out := newBuffer()
	if err := run(t.Context(), []string{"official", "-dir", dir}, out); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, agent := range []string{serverAgent, clientAgent} {
		if want := agent + ": all 10 verdicts as expected"; !strings.Contains(out.String(), want) {
			t.Errorf("output lacks %q:\n%s", want, out)
		}
	}

	delete(expected[clientAgent], "1.1.1")
	writeExpected()
	out = newBuffer()
	if err := run(t.Context(), []string{"official", "-dir", dir, "-role", "client"}, out); err == nil || !strings.Contains(out.String(), clientAgent+" 1.1.1: OK / OK, expected no result") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestBrokenSuite runs the official command with a wstest that fails at once.
// The command must not wait for it.
func TestBrokenSuite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"wstest":             "#!/bin/sh\nexit 3\n",
		"expected.json":      "{}",
		"fuzzingclient.json": fmt.Sprintf(`{"outdir": ".", "servers": [{"url": "ws://%s"}]}`, freeAddress(t)),
		"fuzzingserver.json": fmt.Sprintf(`{"outdir": ".", "url": "ws://%s"}`, freeAddress(t)),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, role := range []string{"server", "client"} {
		err := run(t.Context(), []string{"official", "-dir", dir, "-role", role}, newBuffer())
		if err == nil || !strings.Contains(err.Error(), "exit status 3") {
			t.Errorf("%s: %v", role, err)
		}
	}
}

// freeAddress returns a loopback address at which nothing listens.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestDockerCommand checks how Docker is called when there is no wstest.
func TestDockerCommand(t *testing.T) {
	s := &suite{dir: "/src/autobahn", docker: "/usr/bin/docker", image: image}
	got := strings.Join(s.command(t.Context(), "fuzzingclient", "fuzzingclient.json").Args, " ")
	want := fmt.Sprintf("/usr/bin/docker run --rm --name %s --network host --user %d:%d --volume /src/autobahn:/autobahn --workdir /autobahn %s wstest -m fuzzingclient -s fuzzingclient.json",
		container, os.Getuid(), os.Getgid(), image)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	got = strings.Join(s.command(t.Context(), "fuzzingserver", "fuzzingserver.json").Args, " ")
	if want := "wstest -m fuzzingserver -s fuzzingserver.json -u 0"; !strings.HasSuffix(got, want) {
		t.Errorf("got  %s\nwant %s at its end", got, want)
	}
}

func TestChosen(t *testing.T) {
	for patterns, want := range map[string]int{"*": 517, "1.*": 16, "12.*,13.*": 216, "9.1.1,9.1.1": 1, "2.1?": 2} {
		cases, err := chosen(patterns)
		if err != nil || len(cases) != want {
			t.Errorf("%q: %d cases, %v; want %d", patterns, len(cases), err, want)
		}
	}
	if c, _ := chosen("*"); c[0] != conversation.All()[0] {
		t.Error("cases are copied")
	}
}
