package websocket

import (
	"io"
	"strings"

	fullduplex "github.com/fullduplex-go/websocket"
)

// NextReader waits for the next message, and returns its type and a reader for
// it, which returns io.EOF at its end. What was not read of the message before
// is dropped.
//
// After an error every read returns that error again.
func (c *Conn) NextReader() (messageType int, r io.Reader, err error) {
	number, err := c.beginMessage()
	if err != nil {
		return noMessage, nil, err
	}
	t, stream, err := c.ws.Reader(background)
	if err := c.endRead(err); err != nil {
		return noMessage, nil, err
	}
	return int(t), &messageReader{c, number, *stream}, nil
}

// A messageReader reads one message as it comes.
type messageReader struct {
	c      *Conn
	number uint64                   // of the message
	stream fullduplex.MessageReader // a copy, so that there is one allocation
}

// Read reads the next bytes of the message. It returns io.EOF at its end, and
// when another message has been asked for.
func (r *messageReader) Read(p []byte) (int, error) {
	current, err := r.c.resumeMessage(r.number)
	if err != nil {
		return 0, err
	}
	if !current {
		return 0, io.EOF
	}
	n, err := r.stream.Read(p)
	if err == io.EOF {
		return n, orEOF(r.c.endRead(nil))
	}
	return n, r.c.endRead(err)
}

// orEOF returns err or, if that is nil, io.EOF.
func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// JoinMessages returns a reader of all messages that c receives from now on,
// one after the other, with term behind each. It must be used by one goroutine
// at a time.
func JoinMessages(c *Conn, term string) io.Reader { return &joinedReader{c: c, term: term} }

// A joinedReader is what JoinMessages returns.
type joinedReader struct {
	c       *Conn
	term    string
	message io.Reader // the current one, or the term behind it; or nil
	inTerm  bool
}

// Read reads the next bytes.
func (r *joinedReader) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil && len(p) > 0 {
		if r.message == nil {
			if _, r.message, err = r.c.NextReader(); err != nil {
				return 0, err
			}
		}
		if n, err = r.message.Read(p); err == io.EOF {
			err = nil
			r.next()
		}
	}
	return n, err
}

// next goes on to the term or, behind that, to the next message.
func (r *joinedReader) next() {
	r.message, r.inTerm = nil, !r.inTerm && r.term != ""
	if r.inTerm {
		r.message = strings.NewReader(r.term)
	}
}
