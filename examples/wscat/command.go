package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fullduplex-go/websocket"
)

// commandHelp is what /help says.
const commandHelp = `/ping                   measure the time to the server and back
/close [code [reason]]  close, with 1000 if there is no code
/binary HEX             send bytes as a binary message
/quit                   close with 1000; so do Ctrl-C and Ctrl-D
//...                   send a line that begins with one slash`

// cutCommand returns a typed command without its slash. ok is false if the line
// is a message.
func cutCommand(line string) (command string, ok bool) {
	if strings.HasPrefix(line, "//") {
		return "", false
	}
	return strings.CutPrefix(line, "/")
}

// unescaped returns the message in a line that is not a command: a doubled slash
// at its beginning is one.
func unescaped(line string) string {
	if strings.HasPrefix(line, "//") {
		return line[1:]
	}
	return line
}

// command does what a command says. It returns errLeaving if that ends the input.
func (v *conversation) command(line string) error {
	name, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "ping":
		go v.ping()
	case "close":
		return v.closeWith(rest)
	case "binary":
		m, err := asHex.message(rest)
		if err != nil {
			return v.complain(err)
		}
		return v.send(m)
	case "quit":
		return errLeaving
	case "help":
		v.s.note("%s", commandHelp)
	default:
		return v.complain(fmt.Errorf("there is no command /%s; /help lists them, and //%s sends /%s", name, line, line))
	}
	return nil
}

// ping measures the time to the peer and back, while other lines are typed.
func (v *conversation) ping() {
	switch rtt, err := v.c.Ping(v.c.Context()); {
	case err == nil:
		v.s.note("pong after %v", rtt.Round(time.Microsecond))
	case v.c.Context().Err() == nil:
		v.s.note("no pong: %v", err)
	}
}

// closeWith closes with what /close was given: nothing, a code, or a code and a
// reason. A code that may not be sent leaves the connection open.
func (v *conversation) closeWith(args string) error {
	if args == "" {
		return errLeaving
	}
	digits, reason, _ := strings.Cut(args, " ")
	code, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || !maySend(websocket.CloseCode(code)) {
		return v.complain(errors.New("a close code is 1000 to 1003, 1007 to 1014, or 3000 to 4999"))
	}
	v.said.Store(uint32(code))
	v.c.SendClose(websocket.CloseCode(code), strings.TrimSpace(reason))
	return errLeaving
}

// maySend reports whether a Close frame may have the code (RFC 6455, Section
// 7.4).
func maySend(code websocket.CloseCode) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}
