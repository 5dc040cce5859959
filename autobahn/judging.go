package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"path"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/autobahn/internal/conversation"
	"github.com/fullduplex-go/websocket/autobahn/internal/judge"
	"github.com/fullduplex-go/websocket/autobahn/internal/report"
	"github.com/fullduplex-go/websocket/autobahn/internal/testee"
)

// errNotStrict is the error of a run in which not every result was strictly OK.
var errNotStrict = errors.New("autobahn: not all conversations are strictly OK")

// A plan holds the flags that judge and report have in common: which
// conversations are played, and how.
type plan struct {
	options  judge.Options
	cases    string
	parallel int
	out      string
	insecure bool
	quick    bool
}

// register adds the flags of a plan.
func (p *plan) register(flags *flag.FlagSet) {
	flags.Float64Var(&p.options.Patience, "patience", 1, "`factor` on the time that the suite gives a testee")
	flags.DurationVar(&p.options.Wait, "wait", time.Second, "`length` of the waits in the scripts")
	flags.IntVar(&p.options.Chop, "chop", 0, "cut every write into pieces of this many `octets`")
	flags.BoolVar(&p.quick, "quick", false, "send fewer messages than the suite in categories 12 and 13")
	flags.StringVar(&p.cases, "cases", "*", "comma-separated `patterns` of the cases to play, such as 1.*,7.3.2")
	flags.IntVar(&p.parallel, "parallel", 1, "conversations played at the same time; 0: several per processor")
	flags.StringVar(&p.out, "out", "", "`directory` for index.html and index.json")
}

// quickVolume is the number of octets sent in a conversation of a quick run.
const quickVolume = 1 << 18

// settle applies the flags and returns the conversations.
func (p *plan) settle() ([]*conversation.Conversation, error) {
	if p.quick {
		p.options.Volume = quickVolume
	}
	if p.parallel <= 0 {
		p.parallel = 4 * runtime.GOMAXPROCS(0)
	}
	if p.insecure {
		p.options.TLS = &tls.Config{InsecureSkipVerify: true}
	}
	return chosen(p.cases)
}

// chosen returns the conversations that match one of the patterns. A pattern
// that ends with .* matches all IDs with that prefix.
func chosen(patterns string) ([]*conversation.Conversation, error) {
	var cases []*conversation.Conversation
	for _, c := range conversation.All() {
		for pattern := range strings.SplitSeq(patterns, ",") {
			ok, err := path.Match(pattern, c.ID)
			if err != nil {
				return nil, fmt.Errorf("autobahn: pattern %q: %w", pattern, err)
			}
			if ok {
				cases = append(cases, c)
				break
			}
		}
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("autobahn: no case matches %q", patterns)
	}
	return cases, nil
}

// runJudge is the command judge.
func runJudge(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("judge", flag.ContinueOnError)
	address := flags.String("url", "", "`URL` of an echo server to judge")
	listen := flags.String("listen", "", "`address` at which clients are judged, by the suite's URL protocol")
	agent := flags.String("agent", "", "`name` of the server in the reports; empty: its Server header")
	var p plan
	p.register(flags)
	flags.BoolVar(&p.insecure, "insecure", false, "accept any certificate of a wss server")
	if err := parse(flags, args, false); err != nil {
		return err
	}
	cases, err := p.settle()
	switch {
	case err != nil:
		return err
	case (*address == "") == (*listen == ""):
		return errors.New("autobahn: judge needs -url or -listen")
	case *listen != "":
		return judgeClients(ctx, *listen, cases, &p, out)
	}
	results := p.judgeServer(ctx, *address, cases, out)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return p.finish(out, map[string]report.Results{agentName(*agent, results): results})
}

// agentName returns the name given, or the one in the server's Server header.
func agentName(given string, results report.Results) string {
	if given != "" {
		return given
	}
	for _, r := range results {
		if r.Software != "" {
			return r.Software
		}
	}
	return "server"
}

// judgeServer plays conversations with a server.
func (p *plan) judgeServer(ctx context.Context, address string, cases []*conversation.Conversation, out io.Writer) report.Results {
	return p.playAll(ctx, cases, out, func(c *conversation.Conversation) *judge.Result {
		return judge.JudgeServer(ctx, address, c, &p.options)
	})
}

// playAll calls play for all cases, several at a time, and prints each result.
// When ctx ends it begins no more cases.
func (p *plan) playAll(ctx context.Context, cases []*conversation.Conversation, out io.Writer, play func(*conversation.Conversation) *judge.Result) report.Results {
	var (
		mu      sync.Mutex
		all     sync.WaitGroup
		slots   = make(chan struct{}, p.parallel)
		results = report.Results{}
	)
	for _, c := range cases {
		slots <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			r := play(c)
			mu.Lock()
			results[c.ID] = r
			printResult(out, r)
			mu.Unlock()
			<-slots
		})
	}
	all.Wait()
	return results
}

// printResult prints a result on one line, followed by what was wrong.
func printResult(out io.Writer, r *judge.Result) {
	code := "-"
	if r.CloseCode != 0 {
		code = fmt.Sprint(r.CloseCode)
	}
	fmt.Fprintf(out, "%-8s %-13s %-16s %5s %7d ms  %s\n", r.ID, r.Behavior, r.BehaviorClose, code, r.Duration.Milliseconds(), r.Extension)
	if r.Strict() {
		return
	}
	if r.Expected != r.Received {
		fmt.Fprintf(out, "         expected %s\n         received %s\n", r.Expected, r.Received)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(out, "         %s\n", note)
	}
}

// finish prints the totals and writes the reports. It returns errNotStrict
// unless all results are strictly OK.
func (p *plan) finish(out io.Writer, agents map[string]report.Results) error {
	var err error
	for agent, results := range agents {
		strict, unimplemented, wrong := results.Count()
		fmt.Fprintf(out, "%s: %d of %d strictly OK, %d unimplemented, %d not\n", agent, strict, len(results), unimplemented, wrong)
		if strict < len(results) {
			err = errNotStrict
		}
	}
	if p.out != "" {
		if err := report.Write(p.out, agents); err != nil {
			return err
		}
		fmt.Fprintf(out, "reports in %s\n", p.out)
	}
	return err
}

// judgeClients plays conversations with the clients that connect, until one asks
// the server to stop or ctx ends. Each time a client asks for reports they are
// printed and written.
func judgeClients(ctx context.Context, address string, cases []*conversation.Conversation, p *plan, out io.Writer) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := judge.NewServer(cases, &p.options)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	var (
		mu       sync.Mutex
		verdict  error
		finished = map[string]report.Results{}
	)
	server.Update = func(agent string) {
		mu.Lock()
		defer mu.Unlock()
		finished[agent] = server.Results(agent)
		for _, c := range cases {
			if r := finished[agent][c.ID]; r != nil {
				printResult(out, r)
			}
		}
		verdict = p.finish(out, finished)
	}
	fmt.Fprintf(out, "judge of clients at ws://%s/\n", l.Addr())
	err = server.Serve(l)
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(err, verdict)
}

// runReport is the command report.
func runReport(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	var p plan
	p.register(flags)
	if err := parse(flags, args, true); err != nil {
		return err
	}
	if p.out == "" {
		p.out = "autobahn/reports/own"
	}
	if flags.NArg() > 0 {
		return mergeReports(p.out, flags.Args(), out)
	}
	cases, err := p.settle()
	if err != nil {
		return err
	}
	agents := map[string]report.Results{}
	if agents[serverAgent], err = p.judgeOwnServer(ctx, cases, out); err != nil {
		return err
	}
	if agents[clientAgent], err = p.judgeOwnClient(ctx, cases, out); err != nil {
		return err
	}
	return p.finish(out, agents)
}

// mergeReports writes a page that shows several indexes side by side.
func mergeReports(dir string, paths []string, out io.Writer) error {
	all := report.Index{}
	for _, path := range paths {
		index, err := report.Read(path)
		if err != nil {
			return err
		}
		all.Add(index)
	}
	if err := report.WriteIndex(dir, all); err != nil {
		return err
	}
	fmt.Fprintf(out, "report in %s\n", dir)
	return nil
}

// judgeOwnServer judges the library's server over the loopback interface.
func (p *plan) judgeOwnServer(ctx context.Context, cases []*conversation.Conversation, out io.Writer) (report.Results, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- serveUntil(serving, l, testee.Handler(testee.Config(), testee.Messages)) }()
	results := p.judgeServer(ctx, "ws://"+l.Addr().String()+"/", cases, out)
	stop()
	return results, errors.Join(<-served, ctx.Err())
}

// judgeOwnClient judges the library's client over the loopback interface.
func (p *plan) judgeOwnClient(ctx context.Context, cases []*conversation.Conversation, out io.Writer) (report.Results, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := judge.NewServer(cases, &p.options)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	client := &testee.Client{
		URL: "ws://" + l.Addr().String(), Agent: clientAgent, Echo: testee.Messages,
		Dial: websocket.DialOptions{Config: testee.Config()},
	}
	results := p.playAll(ctx, cases, out, func(c *conversation.Conversation) *judge.Result {
		if err := client.RunCase(ctx, "casetuple", c.ID); err != nil {
			return &judge.Result{ID: c.ID, Behavior: judge.Failed, BehaviorClose: judge.Failed, Notes: []string{err.Error()}}
		}
		r, err := server.Result(ctx, clientAgent, c.ID)
		if err != nil {
			return &judge.Result{ID: c.ID, Behavior: judge.Failed, BehaviorClose: judge.Failed, Notes: []string{err.Error()}}
		}
		return r
	})
	server.Stop()
	return results, errors.Join(<-served, ctx.Err())
}
