package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A conversation is a connection and the two that talk over it: the input, and
// the peer.
type conversation struct {
	c     *websocket.Conn
	o     *options
	s     *screen
	lines input
	typed bool          // a person types the input
	said  atomic.Uint32 // the code of the Close frame that /close sent; 0: none
	bad   chan error    // holds why the input could not be sent, if so
}

// errLeaving ends the input, of which the user knows why.
var errLeaving = errors.New("leaving")

// hold sends the input and prints what comes, until the connection has ended, and
// returns the exit code. When ctx ends, it closes the connection.
func (v *conversation) hold(ctx context.Context) int {
	stop := context.AfterFunc(ctx, v.leave)
	defer stop()
	go v.speak()
	if err := v.listen(); err != nil {
		v.s.close()
		v.s.note("wscat: %v", err)
		return exitUsage
	}
	v.s.close()
	var end *websocket.CloseError
	errors.As(context.Cause(v.c.Context()), &end)
	return v.judge(end)
}

// leave closes with 1000 or, if the connection is closing already, ends it at
// once.
func (v *conversation) leave() {
	if v.c.SendClose(websocket.CloseNormal, "") != nil {
		v.c.CloseNow()
	}
}

// speak sends the input and closes when it is over. What comes until the peer has
// closed too is for listen.
func (v *conversation) speak() {
	err := v.lines(v.say)
	if err != nil && !errors.Is(err, errLeaving) {
		v.bad <- err
	}
	if err != nil || v.typed || v.stay() {
		v.c.SendClose(websocket.CloseNormal, "")
	}
}

// stay waits as -wait says after the end of the input, and reports whether it is for
// speak to close then.
func (v *conversation) stay() bool {
	if v.o.wait < 0 {
		return false
	}
	select {
	case <-time.After(v.o.wait):
		return true
	case <-v.c.Context().Done():
		return false
	}
}

// say sends a line, or does what a command that was typed says.
func (v *conversation) say(line string) error {
	if v.typed {
		if command, ok := cutCommand(line); ok {
			return v.command(command)
		}
		line = unescaped(line)
	}
	m, err := v.o.form.message(line)
	if err != nil {
		return v.complain(err)
	}
	return v.send(m)
}

// complain tells the user at a terminal of a line that was not sent, and returns
// nil. Elsewhere nobody can mend the line, and it returns the error.
func (v *conversation) complain(err error) error {
	if !v.typed {
		return err
	}
	v.s.note("not sent: %v", err)
	return nil
}

// send sends a message. What is typed does not wait for a peer that does not read.
func (v *conversation) send(m websocket.Message) error {
	var err error
	if v.typed {
		err = v.c.Send(m.Type, m.Data)
	} else {
		err = v.c.Write(v.c.Context(), m.Type, m.Data)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, websocket.ErrQueueFull):
		return v.complain(errors.New("the server does not read, and too much is waiting"))
	}
	return errLeaving // the connection has ended, and listen knows why
}

// listen prints what comes until the connection has ended, or as many messages as
// -n says. Its error is one of the input or of the output.
func (v *conversation) listen() error {
	received := 0
	for m, err := range v.c.Messages(context.Background()) {
		if err != nil {
			break
		}
		if err := v.s.message(m); err != nil {
			v.c.Close(websocket.CloseNormal, "")
			return err
		}
		if received++; received == v.o.count {
			v.c.Close(websocket.CloseNormal, "") // which drops what comes
			break
		}
	}
	select {
	case err := <-v.bad:
		return err
	default:
		return nil
	}
}

// judge returns the exit code for the end of the connection, of which it tells the
// user unless a script expects it.
func (v *conversation) judge(end *websocket.CloseError) int {
	code := exitCode(end, websocket.CloseCode(v.said.Load()))
	if code != exitOK || v.typed || v.o.verbose {
		v.s.note("%s", describe(end))
	}
	return code
}

// exitCode returns the exit code for the end of a connection. said is the code that
// /close sent, or 0.
func exitCode(end *websocket.CloseError, said websocket.CloseCode) int {
	expected := []websocket.CloseCode{websocket.CloseNormal, websocket.CloseGoingAway, websocket.CloseNoStatus, said}
	switch {
	case end.Code == websocket.CloseAbnormal:
		return exitLost
	case slices.Contains(expected, end.Code) && end.Err == nil:
		return exitOK
	}
	return exitBadClose
}

// describe returns how a connection ended, for the user.
func describe(end *websocket.CloseError) string {
	s := "closed: " + end.Code.String()
	if end.Code == websocket.CloseAbnormal {
		s = "connection lost: " + end.Code.String()
	}
	switch {
	case errors.Is(end.Err, net.ErrClosed):
		return s + ": left before the server had closed too"
	case errors.Is(end.Err, context.DeadlineExceeded):
		return s + ": the server did not close too"
	case errors.Is(end.Err, websocket.ErrMessageTooBig):
		return s + ": a message from the server is longer than -max-size"
	case end.Err != nil:
		return s + ": " + strings.TrimPrefix(end.Err.Error(), "websocket: ")
	case end.Reason != "":
		return s + ": " + end.Reason
	}
	return s
}
