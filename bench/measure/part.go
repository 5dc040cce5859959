//go:build linux

package measure

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// partVariable is the environment variable that names the part that a program
// plays in a run.
const partVariable = "WEBSOCKET_BENCH_PART"

// The parts of a run that run in processes of their own.
const (
	subjectPart = "subject"
	loadPart    = "load"
)

// A talk is one end of the JSON conversation between the orchestrator and a
// part.
type talk struct {
	in  *json.Decoder
	out *json.Encoder
}

// An answer is a message of a part. Error is empty unless the part cannot
// continue.
type answer struct {
	Error  string
	Door   door
	Memory Memory
	Result Result
}

// Main plays the part of a run that this process was started for, and does not
// return. If the process was not started as a part, Main returns at once.
// Programs that call Compare must call Main first.
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

// The questions to a subject.
const (
	askMemory = "memory" // what it holds, after it has come to rest
	askCounts = "counts" // its goroutines and allocations
	askRest   = "rest"   // nothing: it answers as soon as it is at rest
)

// playSubject starts the subject, and answers questions.
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
	return errors.Join(answerAll(t), stop())
}

// answerAll answers questions until there are no more.
func answerAll(t talk) error {
	for {
		var question string
		if err := t.in.Decode(&question); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		m, err := answerTo(question)
		if err != nil {
			return err
		}
		if err := t.out.Encode(answer{Memory: m}); err != nil {
			return err
		}
	}
}

// answerTo answers one question.
func answerTo(question string) (Memory, error) {
	switch question {
	case askMemory:
		return heldMemory()
	case askCounts:
		return counted(), nil
	default:
		return Memory{}, rest()
	}
}

// playLoad drives the subject and sends the result. It keeps its connections
// open until the orchestrator has no more questions.
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
