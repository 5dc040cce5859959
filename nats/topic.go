package natsgroup

import (
	"context"
	"errors"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nuid"
)

// A Topic is a subject of a Group: a room, a document, a user. It costs nothing
// until it has a member, and nothing after the last has left; a group may have as
// many as names allow. All methods may be called by several goroutines at once.
type Topic struct {
	g    *Group
	name string
}

// Topic returns the topic of that name: 1 to 128 letters, digits, hyphens and
// underscores, in parts with dots between them if you like. Anything else is a
// *NameError, so a name that a client sends may be passed as it is.
func (g *Group) Topic(name string) (*Topic, error) {
	if err := checkTopicName(name); err != nil {
		return nil, err
	}
	return &Topic{g, name}, nil
}

// Name returns the name of the topic.
func (t *Topic) Name() string { return t.name }

// Publish sends data to every member of the topic on every node, also to those of
// this one, and returns the sequence of the message. The messages of a topic reach
// all members in the order of their sequences. nil means that the stream has stored
// the message on as many servers as it is replicated to, or on most of them.
//
// While NATS is not there, Publish tries again until ctx ends, or for a minute. The
// error then wraps that of ctx, and the message may still have been published, but
// not twice. A text that is not UTF-8 is an error, as is a message that NATS is not
// configured to take (its max_payload is 1 MiB by default).
func (t *Topic) Publish(ctx context.Context, typ websocket.MessageType, data []byte) (seq uint64, err error) {
	return t.publish(ctx, nuid.Next(), typ, data)
}

// PublishOnce is Publish for a message that may be published again, also by another
// node, because it is not known whether it was: within two minutes, the topic takes
// one message with the same id, and further calls return the sequence of that one.
// An id has up to 64 letters, digits, hyphens and underscores; anything else is a
// *NameError.
func (t *Topic) PublishOnce(ctx context.Context, id string, typ websocket.MessageType, data []byte) (seq uint64, err error) {
	if err := checkToken(id, id, maxID); err != nil {
		return 0, err
	}
	return t.publish(ctx, t.name+"/"+id, typ, data)
}

// publish publishes under an id that is of the whole group.
func (t *Topic) publish(ctx context.Context, id string, typ websocket.MessageType, data []byte) (seq uint64, err error) {
	switch {
	case typ != websocket.Text && typ != websocket.Binary:
		return 0, errors.New("natsgroup: a message is Text or Binary")
	case typ == websocket.Text && !utf8.Valid(data):
		return 0, errors.New("natsgroup: a text must be UTF-8")
	case t.g.ctx.Err() != nil:
		return 0, ErrClosed
	}
	return t.g.history.publish(ctx, t.name, id, typ, data)
}
