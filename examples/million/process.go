package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// A process is this program as a server or a client. It answers questions until
// its standard input ends.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *json.Encoder
	in    *json.Decoder
}

// start starts a process with the arguments. It is killed when ctx ends.
func start(ctx context.Context, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{cmd, stdin, json.NewEncoder(stdin), json.NewDecoder(stdout)}, cmd.Start()
}

// ask sends a question and waits for the answer.
func (p *process) ask(question, answer any) error {
	if err := p.out.Encode(question); err != nil {
		return fmt.Errorf("the %s has ended: %w", p.cmd.Args[1], err)
	}
	if err := p.in.Decode(answer); err != nil {
		return fmt.Errorf("the %s has ended: %w", p.cmd.Args[1], err)
	}
	return nil
}

// end lets the process end, and waits for that.
func (p *process) end() error {
	return errors.Join(p.stdin.Close(), p.cmd.Wait())
}

// answer is the other side of ask: it answers each question in in, on out, until
// there are no more.
func answer[Q, A any](in io.Reader, out io.Writer, to func(Q) (A, error)) error {
	questions, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var q Q
		if err := questions.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := to(q)
		if err != nil {
			return err
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}
