package natsgroup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/natsext"
)

// A history is the stream behind a group: what was published, in one order. The
// servers send a copy of each message, once it is stored, to live subjects, with
// its sequence and that of the message before it on its topic.
//
// Questions about it go to whichever replica is near. One that lags behind answers
// from what it has, so an answer that says there is nothing counts only if it
// comes with the sequence up to which it knows.
type history struct {
	js     jetstream.JetStream
	stream string // the name of the group
	kept   jetstream.Stream
	gate   gate
}

// Bounds on what is asked of the stream.
const (
	batchMessages = 256             // most messages of one answer
	batchBytes    = 256 << 10       // an answer ends with the message that reaches this
	batchTopics   = 500             // most topics that one request asks about
	duplicates    = 2 * time.Minute // how long the stream knows a message by its id
)

// stored returns the subject that messages of a topic are published to.
func (h *history) stored(topic string) string { return h.stream + ".pub." + topic }

// live returns the subject on which the servers repeat them.
func (h *history) live(topic string) string { return h.stream + ".live." + topic }

// open makes the stream unless there is one, and checks what it finds. A stream
// begins with the time at which it is made, in microseconds. So 0 is no sequence of
// it, not even of an empty one; what a client saw of a stream that was deleted comes
// before all of another that was made for it; and every sequence is an integer that
// JSON and JavaScript can hold.
func (h *history) open(ctx context.Context, opts *Options) error {
	want := jetstream.StreamConfig{
		Name:              h.stream,
		Description:       "messages of a group of WebSockets",
		Subjects:          []string{h.stored(">")},
		RePublish:         &jetstream.RePublish{Source: h.stored(">"), Destination: h.live(">")},
		Replicas:          max(1, opts.Replicas),
		Storage:           opts.Storage,
		MaxAge:            opts.maxAge(),
		MaxBytes:          opts.maxBytes(),
		MaxMsgsPerSubject: opts.PerTopic,
		Duplicates:        min(duplicates, opts.maxAge()),
		FirstSeq:          uint64(time.Now().UnixMicro()),
		AllowDirect:       true,
	}
	var err error
	h.kept, err = h.js.Stream(ctx, h.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		h.kept, err = h.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was faster
			h.kept, err = h.js.Stream(ctx, h.stream)
		}
	}
	if err != nil {
		return err
	}
	return checkStream(&h.kept.CachedInfo().Config, &want)
}

// checkStream returns an error unless have does what the group needs. Its limits
// may differ from those of want.
func checkStream(have, want *jetstream.StreamConfig) error {
	switch {
	case !slices.Equal(have.Subjects, want.Subjects):
		return fmt.Errorf("natsgroup: stream %s has the subjects %q, want %q", have.Name, have.Subjects, want.Subjects)
	case have.RePublish == nil || *have.RePublish != *want.RePublish:
		return fmt.Errorf("natsgroup: stream %s must republish %s to %s, with the messages", have.Name, want.RePublish.Source, want.RePublish.Destination)
	case have.FirstSeq < 2:
		return fmt.Errorf("natsgroup: stream %s must begin with a sequence over 1 (first_seq)", have.Name)
	case !have.AllowDirect:
		return fmt.Errorf("natsgroup: stream %s must allow direct access", have.Name)
	}
	return nil
}

// A report is what the leader says about the stream.
type report struct {
	*jetstream.StreamInfo           // with a Cluster, also if that is one server
	asked                 time.Time // when it was asked
}

// info returns what the leader says and, if a subject is given, with the number of
// messages kept on it.
func (h *history) info(ctx context.Context, subject ...string) (r report, err error) {
	var opts []jetstream.StreamInfoOpt
	for _, filter := range subject {
		opts = append(opts, jetstream.WithSubjectFilter(filter))
	}
	err = h.gate.once(ctx, func(ctx context.Context) (err error) {
		r.asked = time.Now()
		r.StreamInfo, err = h.kept.Info(ctx, opts...)
		return err
	})
	if err == nil && r.Cluster == nil {
		r.Cluster = new(jetstream.ClusterInfo)
	}
	return r, err
}

// publish stores a message and returns its sequence. While NATS does not answer,
// publish tries again with the same id, which the stream stores once.
func (h *history) publish(ctx context.Context, topic, id string, t websocket.MessageType, data []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, duplicates/2)
	defer cancel()
	m := newMsg(h.stored(topic), t, data)
	var last error
	for {
		ack, err := h.attempt(ctx, m, id)
		switch {
		case err == nil:
			return ack.Sequence, nil
		case ctx.Err() != nil:
			return 0, fmt.Errorf("natsgroup: publish to %q: %w", topic, errors.Join(ctx.Err(), last))
		case isPermanent(err):
			return 0, fmt.Errorf("natsgroup: publish to %q: %w", topic, err)
		}
		last = err
		sleep(ctx, retryWait)
	}
}

// attempt publishes m once, and not before NATS is connected: what nats.go would
// keep until then could arrive after the call has failed.
func (h *history) attempt(ctx context.Context, m *nats.Msg, id string) (*jetstream.PubAck, error) {
	if s := h.js.Conn().Status(); s == nats.RECONNECTING || s == nats.CONNECTING {
		return nil, nats.ErrConnectionReconnecting
	}
	var ack *jetstream.PubAck
	err := once(ctx, func(ctx context.Context) (err error) {
		ack, err = h.js.PublishMsg(ctx, m, jetstream.WithMsgID(id), jetstream.WithRetryAttempts(0))
		return err
	})
	return ack, err
}

// next returns messages of a topic that follow after, in order and without a gap:
// as many as fit into one answer, or none if there is none up to upTo. The error is
// a *GapError if some that follow may have been removed.
func (h *history) next(ctx context.Context, topic string, after, upTo uint64) ([]Message, error) {
	for {
		msgs, err := h.batch(ctx, topic, after+1)
		if err == nil && len(msgs) == 0 {
			var none bool
			if none, err = h.none(ctx, topic, after, upTo); err == nil && none {
				return nil, nil
			}
		}
		if err == nil && len(msgs) > 0 { // after it was read: nothing was removed meanwhile
			err = h.checkGap(ctx, topic, after, msgs[0].Seq)
		}
		if _, gap := errors.AsType[*GapError](err); gap || err == nil && len(msgs) > 0 {
			return msgs, err
		}
		sleep(ctx, retryWait)
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// none reports whether it is certain that no message of a topic is kept with a
// sequence over after, up to upTo.
func (h *history) none(ctx context.Context, topic string, after, upTo uint64) (bool, error) {
	newest, last, err := h.end(ctx, topic)
	if err != nil || newest > after || last < upTo {
		return false, err
	}
	return true, h.checkGap(ctx, topic, after, upTo+1)
}

// errBehind is the error of a question that is to be asked again.
var errBehind = errors.New("natsgroup: a replica does not know yet what its leader knows")

// end returns the sequence of the newest message kept of a topic, or 0 if there is
// none, and a sequence up to which that is certain, the stream's last or a later
// one.
func (h *history) end(ctx context.Context, topic string) (newest, last uint64, err error) {
	info, err := h.info(ctx, h.stored(topic))
	if err != nil {
		return 0, 0, err
	}
	lasts, known, err := h.lasts(ctx, []string{topic})
	switch kept := info.State.Subjects[h.stored(topic)]; {
	case err != nil:
		return 0, 0, err
	case lasts[topic] == 0 && kept == 0:
		return 0, info.State.LastSeq, nil
	case known < info.State.LastSeq:
		return 0, 0, errBehind
	}
	return lasts[topic], known, nil
}

// checkGap returns a *GapError if messages of a topic after after may have been
// removed. The next one that was found is next.
func (h *history) checkGap(ctx context.Context, topic string, after, next uint64) error {
	info, err := h.info(ctx, h.stored(topic))
	if err != nil {
		return err
	}
	limit, kept := info.Config.MaxMsgsPerSubject, info.State.Subjects[h.stored(topic)]
	switch {
	case info.State.FirstSeq > after+1:
		return &GapError{topic, after, max(info.State.FirstSeq, next)}
	case limit <= 0 || kept < uint64(limit):
		return nil
	}
	// The topic has as many messages as are kept of one. Nothing after the oldest
	// has been removed.
	oldest, err := h.batch(ctx, topic, 1)
	if err != nil || len(oldest) > 0 && oldest[0].Seq <= after {
		return err
	}
	return &GapError{topic, after, next}
}

// A directRequest is the body of a request to a stream's direct access.
type directRequest struct {
	Seq      uint64   `json:"seq,omitempty"`
	Next     string   `json:"next_by_subj,omitempty"`
	Batch    int      `json:"batch,omitempty"`
	MaxBytes int      `json:"max_bytes,omitempty"`
	LastFor  []string `json:"multi_last,omitempty"`
}

// batch returns messages of a topic from the sequence first on, as some replica
// has them: none if it has none.
func (h *history) batch(ctx context.Context, topic string, first uint64) ([]Message, error) {
	var msgs []Message
	_, err := h.direct(ctx, &directRequest{
		Seq: first, Next: h.stored(topic), Batch: batchMessages, MaxBytes: batchBytes,
	}, func(msg Message) { msgs = append(msgs, msg) })
	return msgs, err
}

// lasts returns the sequence of the last message kept of each topic that has one,
// as some replica knows them, and the sequence up to which it knows. That is 0 if
// none of them has a message.
func (h *history) lasts(ctx context.Context, topics []string) (last map[string]uint64, upTo uint64, err error) {
	req := directRequest{LastFor: make([]string, len(topics))}
	for i, topic := range topics {
		req.LastFor[i] = h.stored(topic)
	}
	last = make(map[string]uint64, len(topics))
	upTo, err = h.direct(ctx, &req, func(msg Message) { last[msg.Topic] = msg.Seq })
	return last, upTo, err
}

// errCutOff is the error of an answer of which a part is missing.
var errCutOff = errors.New("natsgroup: an answer of NATS did not arrive whole")

// direct sends a request to the stream's direct access and calls each with every
// message of the answer. It returns the sequence up to which the answer is complete,
// if that is told. The error is nil only if the whole answer has arrived.
func (h *history) direct(ctx context.Context, req *directRequest, each func(Message)) (upTo uint64, err error) {
	err = h.gate.once(ctx, func(ctx context.Context) (err error) {
		upTo, err = h.answer(ctx, req, each)
		return err
	})
	return upTo, err
}

// answer is direct when it is its turn.
func (h *history) answer(ctx context.Context, req *directRequest, each func(Message)) (upTo uint64, err error) {
	body, err := json.Marshal(req)
	if err != nil {
		return 0, err
	}
	var end *nats.Msg
	answers, err := natsext.RequestMany(ctx, h.js.Conn(), h.api("DIRECT.GET."+h.stream), body,
		natsext.RequestManySentinel(func(m *nats.Msg) bool {
			if m.Header.Get("Status") == "" {
				return false
			}
			end = m
			return true
		}))
	if err != nil {
		return 0, err
	}
	last := uint64(0)
	for m, err := range answers {
		if err != nil {
			return 0, err
		}
		msg, previous, err := parseMsg(h.topicOf(m), m)
		if err != nil {
			return 0, err
		}
		if previous != last {
			return 0, errCutOff
		}
		last = msg.Seq
		each(msg)
	}
	return endOf(end, last)
}

// endOf judges the last part of an answer whose last message had the sequence last,
// and returns the sequence up to which the answer is complete, if that is told.
func endOf(end *nats.Msg, last uint64) (upTo uint64, err error) {
	if end == nil {
		return 0, errCutOff
	}
	switch status := end.Header.Get("Status"); status {
	case "404": // nothing found
		return 0, nil
	case "204": // the end of a batch
		if n, err := sequence(end.Header, jetstream.LastSequenceHeader); err != nil || n != last {
			return 0, errCutOff
		}
		if end.Header.Get(upToHeader) == "" {
			return 0, nil
		}
		return sequence(end.Header, upToHeader)
	default:
		return 0, fmt.Errorf("natsgroup: NATS answers %s %s", status, end.Header.Get("Description"))
	}
}

// upToHeader is the header of the sequence up to which an answer is complete.
const upToHeader = "Nats-UpTo-Sequence"

// topicOf returns the topic of a message in an answer.
func (h *history) topicOf(m *nats.Msg) string {
	subject := m.Header.Get(jetstream.SubjectHeader)
	if prefix := h.stored(""); len(subject) > len(prefix) {
		return subject[len(prefix):]
	}
	return ""
}

// api returns the subject of a request to JetStream.
func (h *history) api(name string) string {
	opts := h.js.Options()
	switch {
	case opts.APIPrefix != "":
		return opts.APIPrefix + "." + name
	case opts.Domain != "":
		return "$JS." + opts.Domain + ".API." + name
	}
	return "$JS.API." + name
}
