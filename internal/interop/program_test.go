package interop

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"
)

// A program is a running program of the directory peers, in one role.
type program struct {
	stdin   io.WriteCloser
	reports chan report
	port    int // of a server
}

// A report is a line that a program prints: once where it listens, and then what
// has come of each connection.
type report struct {
	Port     int
	Messages int    // that have come, or come back
	Pong     string // payload of a Pong frame that answered its Ping
	Code     int    // as the library tells it
	Reason   string
	Error    string
}

// startProgram runs a program until the test ends.
func startProgram(t *testing.T, role string, command []string) *program {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{stdin: stdin, reports: make(chan report, 64)}
	go p.listen(stdout)
	t.Cleanup(func() {
		stdin.Close()
		late := time.AfterFunc(callTimeout, func() { cmd.Process.Kill() })
		defer late.Stop()
		for range p.reports {
		}
		cmd.Wait() // how it ends says nothing about a connection
	})
	if role == "server" {
		p.port = p.next(t).Port
	}
	return p
}

// listen passes on the lines of r.
func (p *program) listen(r io.Reader) {
	defer close(p.reports)
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var line report
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			line.Error = err.Error() + ": " + lines.Text()
		}
		p.reports <- line
	}
}

// next waits for a report.
func (p *program) next(t *testing.T) report {
	t.Helper()
	select {
	case line, ok := <-p.reports:
		if !ok {
			t.Fatal("the program has ended")
		}
		if line.Error != "" {
			t.Errorf("the program says %q", line.Error)
		}
		return line
	case <-time.After(callTimeout):
		t.Fatal("the program is silent")
		return report{}
	}
}
