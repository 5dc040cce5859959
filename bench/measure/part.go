//go:build linux

package measure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// partVariable is the environment variable that makes a program a part of a
// run.
const partVariable = "WEBSOCKET_BENCH_PART"

// The parts of a run that have processes of their own.
const (
	subjectPart = "subject"
	loadPart    = "load"
)

// A talk is one end of the conversation, in JSON, between the orchestrator
// and a part.
type talk struct {
	in  *json.Decoder
	out *json.Encoder
}

// An answer is what a part says. Error is empty unless it cannot go on.
type answer struct {
	Error  string
	Door   door
	Memory Memory
	Result Result
}

// Main plays the part of a run that this process was started for, and does
// not return; or it returns at once if it was not started for one. Programs
// that call Compare call it first of all.
func Main() {
	t := talk{json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)}
	var err error
	switch part := os.Getenv(partVariable); part {
	case "":
		return
	case subjectPart:
		err = playSubject(t)
	case loadPart:
		err = playLoad(t)
	default:
		err = fmt.Errorf("measure: no part is named %q", part)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.out.Encode(answer{Error: err.Error()})
		os.Exit(1)
	}
	os.Exit(0)
}

// playSubject starts the subject, and tells what memory is held each time it
// is asked.
func playSubject(t talk) error {
	var spec subjectSpec
	if err := t.in.Decode(&spec); err != nil {
		return err
	}
	if err := maxDescriptors(); err != nil {
		return err
	}
	s, err := newSubject(spec)
	if err != nil {
		return err
	}
	at, err := s.start()
	if err != nil {
		return err
	}
	stop, err := profile(spec.Profile)
	if err != nil {
		return err
	}
	if err := t.out.Encode(answer{Door: at}); err != nil {
		return err
	}
	return errors.Join(tellMemory(t), stop())
}

// tellMemory answers every question until there are no more.
func tellMemory(t talk) error {
	for {
		var question string
		if err := t.in.Decode(&question); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		m, err := heldMemory()
		if err != nil {
			return err
		}
		if err := t.out.Encode(answer{Memory: m}); err != nil {
			return err
		}
	}
}

// playLoad drives the subject and tells the result. Its connections stay
// until the orchestrator has nothing more to say.
func playLoad(t talk) error {
	var spec loadSpec
	if err := t.in.Decode(&spec); err != nil {
		return err
	}
	if err := maxDescriptors(); err != nil {
		return err
	}
	result, err := drive(spec, func(addr string) (pid int, err error) {
		if err := t.out.Encode(answer{Door: door{Addr: addr}}); err != nil {
			return 0, err
		}
		return pid, t.in.Decode(&pid)
	})
	if err != nil {
		return err
	}
	if err := t.out.Encode(answer{Result: result}); err != nil {
		return err
	}
	return t.in.Decode(new(string))
}
