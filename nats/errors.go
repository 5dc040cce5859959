package natsgroup

import (
	"errors"
	"fmt"
)

// Errors of calls on a Group and its topics.
var (
	// ErrClosed is the error of calls on a Group that was closed.
	ErrClosed = errors.New("natsgroup: the group is closed")

	// ErrMember is the error of joining a topic with a connection that is a member
	// of it on this node.
	ErrMember = errors.New("natsgroup: the connection is a member already")
)

// A GapError is the answer to a member that asks for messages that the stream may
// no longer keep all of: it has to get its state anew, and then joins without After.
// The answer errs on the safe side, because nothing tells a message that was
// removed from one that never was.
type GapError struct {
	Topic string
	After uint64 // what the member saw last
	First uint64 // the first sequence that the stream is known to keep
}

// Error says what the member saw and what is kept.
func (e *GapError) Error() string {
	if e.First <= e.After {
		return fmt.Sprintf("natsgroup: topic %q: sequence %d has not been given out by this stream", e.Topic, e.After)
	}
	return fmt.Sprintf("natsgroup: topic %q: the messages after %d are not all kept; those from %d on are", e.Topic, e.After, e.First)
}
