package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fullduplex-go/websocket"
	natsgroup "github.com/fullduplex-go/websocket/nats"
)

// Limits on what a page sends and on how long it waits.
const (
	maxMessage     = 4096 // bytes of one message, as JSON
	maxName        = 24   // runes of a name
	maxRun         = 40   // bytes of the id of a count
	maxNames       = 60   // names that a page is told; of the others it learns the number
	joinTimeout    = 25 * time.Second
	publishTimeout = 10 * time.Second
)

// An entry is a message as it is published. Whatever a page has sent is bounded,
// and no server relies on it.
type entry struct {
	ID   string `json:"id"`            // the page's, by which it knows its own message again
	Name string `json:"name"`          // of who wrote it
	Node string `json:"node"`          // that took it
	Text string `json:"text"`          // empty if it is one of a count
	Run  string `json:"run,omitempty"` // the id of a count, if the page is counting
	N    uint64 `json:"n,omitempty"`   // its number in that
}

// check returns an error unless e is what a page may send.
func (e *entry) check() error {
	if len(e.Run) > maxRun {
		return errors.New("the id is too long")
	}
	if strings.TrimSpace(e.Text) == "" && e.Run == "" {
		return errors.New("the message is empty")
	}
	return nil
}

// An event is sent to the page as JSON.
type event struct {
	Kind    string         `json:"kind"`              // "welcome", "joined", "gap", "people", "message" or "refused"
	Node    string         `json:"node,omitempty"`    // in a welcome: the node that serves the page
	Control bool           `json:"control,omitempty"` // in a welcome: the page came by a front, which has /control
	Seq     uint64         `json:"seq,omitempty"`     // of a message; in joined, where the page resumes if it sees none
	Time    int64          `json:"time,omitempty"`    // in a message: milliseconds since 1970
	Entry   *entry         `json:"entry,omitempty"`   // in a message
	ID      string         `json:"id,omitempty"`      // in refused: of the message that was not published
	Counts  map[string]int `json:"counts,omitempty"`  // in people: how many are in the room on each node
	Names   []person       `json:"names,omitempty"`   // in people: those who have been here longest
}

// A person is somebody who is in the room.
type person struct {
	Name string `json:"name"`
	Node string `json:"node"`
}

// encode returns e as JSON.
func encode(e event) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		panic(err) // every event can be encoded
	}
	return data
}

// encodeMessage returns what members are sent for a message. What is not an entry
// has been published by another program, and is shown as it is.
func encodeMessage(m natsgroup.Message) *websocket.Prepared {
	e := &entry{}
	if json.Unmarshal(m.Data, e) != nil {
		e = &entry{Text: strings.ToValidUTF8(string(m.Data), "�")}
	}
	return websocket.Prepare(websocket.Text, encode(event{Kind: "message", Seq: m.Seq, Time: m.Time.UnixMilli(), Entry: e}))
}

// A chat is the rooms of this node.
type chat struct {
	node    string
	control bool // a front that has /control may be before it
	group   *natsgroup.Group

	mu    sync.Mutex
	rooms map[string]*room // those that have members on this node
}

// A room is what this node knows of a topic besides its messages: who is in it, on
// all nodes. All its members share one watch of that.
type room struct {
	topic *natsgroup.Topic
	stop  context.CancelFunc // ends the watch
	users int                // under the mu of the chat

	mu      sync.Mutex
	members websocket.Group
	people  *websocket.Prepared // the latest; nil before there is one
}

// A visitor is what a request says about who connects.
type visitor struct {
	name    string
	topic   *natsgroup.Topic
	after   uint64 // the last sequence that the page has seen, or 0
	control bool
}

// enter judges a request: its name, its room, and after which sequence it resumes.
func (ch *chat) enter(r *http.Request) (serve func(c *websocket.Conn) error, err error) {
	q := r.URL.Query()
	v := visitor{name: q.Get("name"), control: ch.control && r.Header.Get("X-Forwarded-Host") != ""}
	if err := checkName(v.name); err != nil {
		return nil, &websocket.HandshakeError{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	if v.topic, err = ch.group.Topic(q.Get("room")); err != nil {
		return nil, &websocket.HandshakeError{Status: http.StatusBadRequest, Reason: err.Error()}
	}
	if after := q.Get("after"); after != "" {
		if v.after, err = strconv.ParseUint(after, 10, 63); err != nil {
			return nil, &websocket.HandshakeError{Status: http.StatusBadRequest, Reason: "after is not a sequence"}
		}
	}
	return func(c *websocket.Conn) error { return ch.serve(c, v) }, nil
}

// checkName returns an error unless name can be shown on one line.
func checkName(name string) error {
	switch {
	case name == "" || name != strings.TrimSpace(name):
		return errors.New("the name is empty, or has spaces around it")
	case !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName:
		return errors.New("the name is too long")
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return errors.New("the name has characters that cannot be shown")
	}
	return nil
}

// serve serves one connection: it joins, publishes what comes, and leaves.
func (ch *chat) serve(c *websocket.Conn, v visitor) error {
	if err := tell(c, event{Kind: "welcome", Node: ch.node, Control: v.control}); err != nil {
		return err
	}
	ro := ch.use(v.topic)
	defer ch.release(ro)
	start, err := v.join(c)
	if err != nil {
		return ending(err)
	}
	if err := tell(c, event{Kind: "joined", Seq: start}); err != nil {
		return err
	}
	ro.add(c)
	for m, err := range c.Messages(c.Context()) {
		if err != nil {
			return err
		}
		if err := ch.take(c, v, m); err != nil {
			return err
		}
	}
	return nil
}

// join makes c a member of the room after what the page has seen, or from now on
// if not all of that is kept; the page is told. It returns the sequence after
// which a page that sees nothing more resumes.
func (v *visitor) join(c *websocket.Conn) (start uint64, err error) {
	ctx, cancel := context.WithTimeout(c.Context(), joinTimeout)
	defer cancel()
	opts := &natsgroup.JoinOptions{After: v.after, Presence: []byte(v.name)}
	m, err := v.topic.Join(ctx, c, opts)
	if _, gap := errors.AsType[*natsgroup.GapError](err); gap {
		if err := tell(c, event{Kind: "gap"}); err != nil {
			return 0, err
		}
		opts.After = 0
		m, err = v.topic.Join(ctx, c, opts)
	}
	if err != nil {
		return 0, err
	}
	return m.Start(), nil
}

// take publishes a message of the page, and tells it if that was not possible.
func (ch *chat) take(c *websocket.Conn, v visitor, m websocket.Message) error {
	if m.Type != websocket.Text {
		return websocket.CloseUnsupportedData
	}
	var e entry
	if err := json.Unmarshal(m.Data, &e); err != nil {
		return &websocket.CloseError{Code: websocket.ClosePolicyViolation, Reason: "the message is not the JSON of an entry"}
	}
	if err := e.check(); err != nil {
		return &websocket.CloseError{Code: websocket.ClosePolicyViolation, Reason: err.Error()}
	}
	e.Name, e.Node = v.name, ch.node
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context(), publishTimeout)
	defer cancel()
	_, err = v.topic.PublishOnce(ctx, e.ID, websocket.Text, data)
	bad, isBad := errors.AsType[*natsgroup.NameError](err)
	switch {
	case err == nil:
		return nil // it comes back with its sequence, as all messages do
	case isBad:
		return &websocket.CloseError{Code: websocket.ClosePolicyViolation, Reason: bad.Reason}
	case errors.Is(err, natsgroup.ErrClosed):
		return ending(err)
	}
	return tell(c, event{Kind: "refused", ID: e.ID})
}

// ending returns what a connection is closed with after an error of the group.
func ending(err error) error {
	switch {
	case errors.Is(err, natsgroup.ErrClosed):
		return websocket.CloseServiceRestart
	case errors.Is(err, context.DeadlineExceeded):
		return &websocket.CloseError{Code: websocket.CloseTryAgainLater, Reason: "this node does not reach the messages"}
	}
	return err
}

// tell sends e to one page.
func tell(c *websocket.Conn, e event) error { return c.Send(websocket.Text, encode(e)) }

// use returns the room of a topic, which is released once for each use.
func (ch *chat) use(topic *natsgroup.Topic) *room {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ro := ch.rooms[topic.Name()]
	if ro == nil {
		ctx, cancel := context.WithCancel(context.Background())
		ro = &room{topic: topic, stop: cancel}
		ch.rooms[topic.Name()] = ro
		go ro.watch(ctx)
	}
	ro.users++
	return ro
}

// release ends a use of the room, and with the last one the watch.
func (ch *chat) release(ro *room) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ro.users--; ro.users == 0 {
		ro.stop()
		delete(ch.rooms, ro.topic.Name())
	}
}

// watch tells the members who is in the room whenever that changes, until ctx
// ends. While NATS is away they keep what they know.
func (ro *room) watch(ctx context.Context) {
	for ctx.Err() == nil {
		for list, err := range ro.topic.WatchPresence(ctx) {
			if err != nil {
				break
			}
			ro.publish(list)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// publish tells the members of this node who is in the room.
func (ro *room) publish(list []natsgroup.Presence) {
	e := event{Kind: "people", Counts: make(map[string]int)}
	for i, p := range list {
		e.Counts[p.Node]++
		if i < maxNames {
			e.Names = append(e.Names, person{string(p.Info), p.Node})
		}
	}
	ro.mu.Lock()
	defer ro.mu.Unlock()
	ro.people = websocket.Prepare(websocket.Text, encode(e))
	ro.members.Send(ro.people)
}

// add has c told who is in the room, now and whenever that changes.
func (ro *room) add(c *websocket.Conn) {
	ro.mu.Lock()
	defer ro.mu.Unlock()
	ro.members.Add(c)
	if ro.people != nil {
		c.SendPrepared(ro.people)
	}
}
