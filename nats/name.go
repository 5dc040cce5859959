package natsgroup

import (
	"fmt"
	"strings"
)

// Limits on names, in bytes.
const (
	maxGroupName = 32
	maxTopicName = 128
	maxID        = 64 // of a message
)

// A NameError says why a name of a group or a topic, or the id of a message, was
// refused. They become parts of NATS subjects and headers, so nothing is taken that
// NATS could read as anything else.
type NameError struct {
	Name   string // as it was given
	Reason string
}

// Error returns the reason and the name.
func (e *NameError) Error() string {
	return fmt.Sprintf("natsgroup: name %.140q: %s", e.Name, e.Reason)
}

// checkGroupName returns a *NameError unless name is one token that streams and
// buckets can be named after.
func checkGroupName(name string) error {
	return checkToken(name, name, maxGroupName)
}

// checkTopicName returns a *NameError unless name is made of tokens with dots
// between them.
func checkTopicName(name string) error {
	if len(name) > maxTopicName {
		return &NameError{name, fmt.Sprintf("it is %d bytes long, at most %d are allowed", len(name), maxTopicName)}
	}
	for token := range strings.SplitSeq(name, ".") {
		if err := checkToken(name, token, maxTopicName); err != nil {
			return err
		}
	}
	return nil
}

// checkToken returns a *NameError about name unless token, a part of it, has 1 to
// longest bytes, all of them letters, digits, hyphens or underscores.
func checkToken(name, token string, longest int) error {
	switch {
	case token == "":
		return &NameError{name, "it is empty, or has nothing before, between or after its dots"}
	case len(token) > longest:
		return &NameError{name, fmt.Sprintf("it is %d bytes long, at most %d are allowed", len(token), longest)}
	case strings.ContainsFunc(token, isForeign):
		return &NameError{name, "only A-Z, a-z, 0-9, - and _ are allowed"}
	}
	return nil
}

// isForeign reports whether a token must not contain r.
func isForeign(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
}
