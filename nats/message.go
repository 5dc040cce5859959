package natsgroup

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A Message is one that was published to a topic.
type Message struct {
	Topic string
	Seq   uint64    // its place in the group's stream: it grows along every topic, with gaps
	Time  time.Time // when the stream stored it
	Type  websocket.MessageType
	Data  []byte // must not be changed
}

// typeHeader is the header that marks a binary message. A text has none.
const typeHeader = "Websocket-Type"

// binaryType is the value of typeHeader.
const binaryType = "binary"

// newMsg returns what is published for a message.
func newMsg(subject string, t websocket.MessageType, data []byte) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: data}
	if t == websocket.Binary {
		m.Header = nats.Header{typeHeader: {binaryType}}
	}
	return m
}

// errForeign is the error of a message that no stream has sent.
var errForeign = errors.New("natsgroup: a message without the headers of a stream")

// parseMsg returns a message that the stream has stored and sent, and the sequence
// of the one before it: on the same topic for one that comes live, in the same
// answer for one that was asked for.
func parseMsg(topic string, m *nats.Msg) (msg Message, previous uint64, err error) {
	seq, err := sequence(m.Header, jetstream.SequenceHeader)
	if err != nil || seq == 0 {
		return Message{}, 0, errForeign
	}
	previous, err = sequence(m.Header, jetstream.LastSequenceHeader)
	if err != nil {
		return Message{}, 0, errForeign
	}
	stored, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return Message{}, 0, errForeign
	}
	msg = Message{Topic: topic, Seq: seq, Time: stored, Type: websocket.Text, Data: m.Data}
	if m.Header.Get(typeHeader) == binaryType {
		msg.Type = websocket.Binary
	}
	return msg, previous, nil
}

// sequence returns the number in a header.
func sequence(h nats.Header, name string) (uint64, error) {
	n, err := strconv.ParseUint(h.Get(name), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("natsgroup: header %s: %w", name, err)
	}
	return n, nil
}
