//go:build linux

package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// A process is a part of a run, seen from the orchestrator.
type process struct {
	talk
	cmd   *exec.Cmd
	stdin io.Closer
}

// startPart starts this program again as a part of a run, on the core. It is
// killed when ctx ends.
func startPart(ctx context.Context, part string, core int, spec any) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), partVariable+"="+part, "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startPinned(core, cmd.Start); err != nil {
		return nil, err
	}
	p := &process{talk{json.NewDecoder(stdout), json.NewEncoder(stdin)}, cmd, stdin}
	return p, p.out.Encode(spec)
}

// talks reports whether the process answers questions.
func (p *process) talks() bool { return p.out != nil }

// next waits for the next answer of the part.
func (p *process) next() (answer, error) {
	var a answer
	if err := p.in.Decode(&a); err != nil {
		return a, fmt.Errorf("measure: a part ended too early: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// ask sends a question and waits for the answer.
func (p *process) ask(question any) (answer, error) {
	if err := p.out.Encode(question); err != nil {
		return answer{}, err
	}
	return p.next()
}

// end lets the process end, and waits for it. One that does not talk is killed.
func (p *process) end() error {
	if !p.talks() {
		err := p.cmd.Process.Kill()
		p.cmd.Wait()
		return err
	}
	return errors.Join(p.stdin.Close(), p.cmd.Wait())
}
