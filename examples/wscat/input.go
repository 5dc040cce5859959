package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// An input calls say with each line until it is over or say returns an error. It
// returns why, or nil at the end.
type input func(say func(line string) error) error

// openInput returns where lines come from: the flags -x, a person who types, or
// the lines of stdin. Where a person types, it changes the terminal until
// screen.close.
func openInput(o *options, s *screen, stdin io.Reader, typed bool) (input, error) {
	switch {
	case o.say != nil:
		return messages(o.say).lines, nil
	case typed:
		return openTyping(stdin.(*os.File), s)
	}
	return piped{r: stdin, longest: o.maxBytes}.lines, nil
}

// messages are those of the flag -x.
type messages []string

func (m messages) lines(say func(string) error) error {
	for _, line := range m {
		if err := say(line); err != nil {
			return err
		}
	}
	return nil
}

// piped are the lines of a pipe or a file.
type piped struct {
	r       io.Reader
	longest int // in bytes
}

// lines reads each line to its end, which is \n or \r\n or the end of the input.
func (p piped) lines(say func(string) error) error {
	lines := bufio.NewScanner(p.r)
	lines.Buffer(nil, p.longest+len("\r\n")+1)
	number := 0
	for lines.Scan() {
		number++
		line := lines.Text()
		if len(line) > p.longest {
			return p.tooLong(number)
		}
		if err := say(line); errors.Is(err, errLeaving) {
			return err
		} else if err != nil {
			return fmt.Errorf("line %d is %w", number, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return p.tooLong(number + 1)
	}
	return lines.Err()
}

// tooLong returns the error for a line that is longer than messages may be.
func (p piped) tooLong(number int) error {
	return fmt.Errorf("line %d is longer than %d bytes: raise -max-size", number, p.longest)
}
