package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/fullduplex-go/websocket/autobahn/internal/report"
	"github.com/fullduplex-go/websocket/autobahn/internal/testee"
)

// image is the suite's published Docker image.
const image = "crossbario/autobahn-testsuite"

// container is the name of the suite's container.
const container = "fullduplex-go-autobahn"

// startLimit bounds the start of the suite's fuzzingserver or of a judge,
// including the download of the image.
const startLimit = 5 * time.Minute

// A suite runs the Autobahn|Testsuite in a directory that holds its
// configuration files.
type suite struct {
	dir    string
	wstest string // path of wstest; empty: Docker
	docker string // path of docker
	image  string

	receiver bool // the library's ends are handed over to a Receiver
}

// findSuite returns the suite that is on PATH: wstest, or else Docker's image.
func findSuite(dir, image string) (*suite, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &suite{dir: dir, image: image}
	if s.wstest, err = exec.LookPath("wstest"); err == nil {
		return s, nil
	}
	if s.docker, err = exec.LookPath("docker"); err == nil {
		return s, nil
	}
	return nil, errors.New("autobahn: neither wstest nor docker is on PATH; judge and report need neither")
}

// fuzzingserver is the mode in which the suite waits for clients.
const fuzzingserver = "fuzzingserver"

// command returns the command that runs the suite in a mode with a
// configuration file of its directory. Only the command line can stop the
// fuzzingserver from serving a web page on port 8080 of all interfaces.
func (s *suite) command(ctx context.Context, mode, config string) *exec.Cmd {
	name, args := s.wstest, []string{"-m", mode, "-s", config}
	if mode == fuzzingserver {
		args = append(args, "-u", "0")
	}
	if s.wstest == "" {
		name = s.docker
		args = append([]string{
			"run", "--rm", "--name", container, "--network", "host",
			"--user", strconv.Itoa(os.Getuid()) + ":" + strconv.Itoa(os.Getgid()),
			"--volume", s.dir + ":/autobahn", "--workdir", "/autobahn", s.image, "wstest",
		}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Cancel = func() error {
		if s.wstest == "" {
			exec.Command(s.docker, "stop", container).Run()
		}
		return cmd.Process.Signal(os.Interrupt)
	}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// runOfficial is the command official.
func runOfficial(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("official", flag.ContinueOnError)
	dir := flags.String("dir", "autobahn", "`directory` of fuzzingclient.json, fuzzingserver.json and expected.json")
	image := flags.String("image", image, "Docker `image`, used when wstest is not on PATH")
	role := flags.String("role", "both", "the library's `role`: server, client or both")
	receiver := flags.Bool("receiver", false, "the library echoes from a Receiver")
	if err := parse(flags, args, false); err != nil {
		return err
	}
	s, err := findSuite(*dir, *image)
	if err != nil {
		return err
	}
	s.receiver = *receiver
	expected, err := report.Read(filepath.Join(s.dir, "expected.json"))
	if err != nil {
		return err
	}
	var failures []error
	if *role != "client" {
		failures = append(failures, s.judgeServer(ctx, expected, out))
	}
	if *role != "server" {
		failures = append(failures, s.judgeClient(ctx, expected, out))
	}
	return errors.Join(failures...)
}

// A configuration holds the needed fields of the suite's configuration files.
type configuration struct {
	OutDir  string `json:"outdir"`
	URL     string `json:"url"`
	Servers []struct {
		URL string `json:"url"`
	} `json:"servers"`
}

// configure reads a configuration file and removes the index of an earlier
// run. It returns the host of the tested URL and the path of the index.
func (s *suite) configure(file string) (host, index string, err error) {
	p, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return "", "", err
	}
	var c configuration
	if err := json.Unmarshal(p, &c); err != nil {
		return "", "", fmt.Errorf("autobahn: %s: %w", file, err)
	}
	if len(c.Servers) > 0 {
		c.URL = c.Servers[0].URL
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return "", "", err
	}
	index = filepath.Join(s.dir, c.OutDir, "index.json")
	if err := os.Remove(index); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", "", err
	}
	return u.Host, index, os.MkdirAll(filepath.Dir(index), 0o777)
}

// judgeServer has the suite's fuzzingclient judge the library's server.
func (s *suite) judgeServer(ctx context.Context, expected report.Index, out io.Writer) error {
	host, index, err := s.configure("fuzzingclient.json")
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", host)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- serveUntil(ctx, l, testeeServer(testee.Config(), false, s.receiver)) }()
	cmd := s.command(ctx, "fuzzingclient", "fuzzingclient.json")
	cmd.Stdout, cmd.Stderr = out, out
	err = cmd.Run()
	stop()
	if err := errors.Join(err, <-served); err != nil {
		return err
	}
	return compareFile(report.Index{serverAgent: expected[serverAgent]}, index, out)
}

// judgeClient has the suite's fuzzingserver judge the library's client.
func (s *suite) judgeClient(ctx context.Context, expected report.Index, out io.Writer) error {
	host, index, err := s.configure("fuzzingserver.json")
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := s.command(ctx, fuzzingserver, "fuzzingserver.json")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cmd.Wait()
		stop(fmt.Errorf("the suite has ended: %s", cmd.ProcessState))
	}()
	err = s.runClient(ctx, host, out)
	stop(nil)
	<-ended
	if err != nil {
		return err
	}
	return compareFile(report.Index{clientAgent: expected[clientAgent]}, index, out)
}

// runClient waits for the fuzzingserver and runs the library's client.
func (s *suite) runClient(ctx context.Context, host string, out io.Writer) error {
	if err := await(ctx, host, out); err != nil {
		return err
	}
	client := &testee.Client{
		URL: "ws://" + host, Agent: clientAgent, Echo: testeeEcho(false, s.receiver),
		Dial: websocket.DialOptions{Config: testee.Config()},
	}
	return client.Run(ctx, func(number, count int) { fmt.Fprintf(out, "case %d of %d\n", number, count) })
}

// await waits until something listens at host. It says so if that takes long.
func await(ctx context.Context, host string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	var d net.Dialer
	for tries := 0; ; tries++ {
		conn, err := d.DialContext(ctx, "tcp", host)
		if err == nil {
			return conn.Close()
		}
		if tries == 0 {
			fmt.Fprintf(out, "waiting for %s\n", host)
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("autobahn: nothing listens at %s: %w", host, context.Cause(ctx))
		}
	}
}

// runCompare is the command compare.
func runCompare(_ context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	if err := parse(flags, args, true); err != nil {
		return err
	}
	if flags.NArg() < 2 {
		return usageError("usage: autobahn compare expected.json index.json...")
	}
	expected, err := report.Read(flags.Arg(0))
	if err != nil {
		return err
	}
	got := report.Index{}
	for _, path := range flags.Args()[1:] {
		index, err := report.Read(path)
		if err != nil {
			return err
		}
		got.Add(index)
	}
	return compare(expected, got, out)
}

// compareFile compares the index in a file with the expected one.
func compareFile(expected report.Index, path string, out io.Writer) error {
	got, err := report.Read(path)
	if err != nil {
		return err
	}
	return compare(expected, got, out)
}

// compare prints how got differs from what is expected.
func compare(expected, got report.Index, out io.Writer) error {
	differences := report.Compare(expected, got)
	for _, d := range differences {
		fmt.Fprintln(out, d)
	}
	if len(differences) > 0 {
		return fmt.Errorf("autobahn: %d verdicts are not the expected ones", len(differences))
	}
	for agent, cases := range expected {
		fmt.Fprintf(out, "%s: all %d verdicts as expected\n", agent, len(cases))
	}
	return nil
}
