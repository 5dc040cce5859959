package natsgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fullduplex-go/websocket"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options are those of a Group. All nodes of a group use the same Name, PresenceTTL
// and Encode; of the limits of the stream, those of the node that makes it apply.
type Options struct {
	// Name is the name of the group, of its stream, and the first token of all its
	// subjects: 1 to 32 letters, digits, hyphens or underscores.
	Name string

	// Replicas is the number of servers that keep each message and each presence.
	// 0 means 1. With 3, the group survives the loss of one server.
	Replicas int

	// Storage is where they keep them. The zero value is jetstream.FileStorage.
	// With jetstream.MemoryStorage and one replica, all is lost with the server.
	Storage jetstream.StorageType

	// MaxAge is how long messages are kept, and so how long a member may be away
	// and still get all it missed. 0 means 24 hours.
	MaxAge time.Duration

	// MaxBytes is how much the stream keeps. 0 means 1 GiB, negative no limit.
	MaxBytes int64

	// PerTopic is how many messages are kept of each topic. 0 means no limit.
	PerTopic int64

	// Recent is how many bytes of the latest messages of each of its topics a node
	// keeps in memory, for members that missed no more than that. 0 means 16 KiB,
	// negative none.
	Recent int

	// Encode returns what members are sent for a message: one Prepared for all of
	// a node. nil sends the data as it was published, in a message of the same
	// type. A client that is to resume has to be told m.Seq. Encode is called by
	// several goroutines at once, and must not block.
	Encode func(m Message) *websocket.Prepared

	// PresenceTTL is how long after the death of a node its members are still
	// present. 0 means 10 seconds; less than one second is not allowed. While NATS
	// elects a leader, which takes seconds, no node is taken for dead.
	PresenceTTL time.Duration

	// Node is a name for this node that Presence carries. It need not be unique.
	Node string

	// Logger is told what the group does about faults. nil means silence.
	Logger *slog.Logger
}

// maxAge returns the default, or what is set.
func (o *Options) maxAge() time.Duration {
	if o.MaxAge == 0 {
		return 24 * time.Hour
	}
	return o.MaxAge
}

// maxBytes returns the default, or what is set, in JetStream's terms.
func (o *Options) maxBytes() int64 {
	switch {
	case o.MaxBytes == 0:
		return 1 << 30
	case o.MaxBytes < 0:
		return -1
	}
	return o.MaxBytes
}

// recent returns the default, or what is set.
func (o *Options) recent() int {
	if o.Recent == 0 {
		return 16 << 10
	}
	return o.Recent
}

// presenceTTL returns the default, or what is set.
func (o *Options) presenceTTL() time.Duration {
	if o.PresenceTTL == 0 {
		return 10 * time.Second
	}
	return o.PresenceTTL
}

// check returns an error if an option cannot be used.
func (o *Options) check() error {
	if err := checkGroupName(o.Name); err != nil {
		return err
	}
	switch {
	case o.MaxAge < 0 || 0 < o.MaxAge && o.MaxAge < time.Second:
		return errors.New("natsgroup: Options.MaxAge must be a second or more")
	case o.presenceTTL() < time.Second:
		return errors.New("natsgroup: Options.PresenceTTL must be a second or more")
	case o.PerTopic < 0 || o.Replicas < 0:
		return errors.New("natsgroup: Options.PerTopic and Options.Replicas must not be negative")
	case len(o.Node) > maxInfo:
		return fmt.Errorf("natsgroup: Options.Node must have at most %d bytes", maxInfo)
	}
	return nil
}

// A Group spans the nodes that opened one of the same name on the same NATS: what
// any of them publishes to a topic reaches the members of the topic on all of
// them. All methods may be called by several goroutines at once.
//
// The calls go over the connection that Open was given, which should reconnect
// for ever (nats.MaxReconnects(-1)) and is not closed by the Group.
type Group struct {
	opts     Options
	history  *history
	presence *presence
	log      *slog.Logger
	patience time.Duration // claimTimeout, except in tests

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // of what Close waits for

	mu    sync.Mutex
	feeds map[string]*feed // of the topics that have members on this node
}

// Open returns the Group that opts.Name names, and makes its stream and its
// buckets unless there are any. While NATS does not answer, has no leader, or has
// fewer servers in its cluster than opts.Replicas, Open tries again until ctx ends,
// and tells opts.Logger now and then. It needs a NATS server of version 2.11 or newer
// with JetStream.
func Open(ctx context.Context, js jetstream.JetStream, opts Options) (*Group, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	told := time.Now()
	for patience := time.Second; ; patience = min(2*patience, maxPatience) {
		g, err := tryOpen(ctx, js, opts, patience)
		if err == nil || !isAway(err) && !isMissing(err) {
			return g, err
		}
		if time.Since(told) >= maxPatience {
			opts.Logger.Warn("natsgroup: open waits for NATS", "error", err)
			told = time.Now()
		}
		sleep(ctx, retryWait)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("natsgroup: open: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// maxPatience is how long an attempt of Open lasts at most, and how often it tells
// that it waits. The first attempt is short: a server that is just starting may drop
// a request.
const maxPatience = 8 * time.Second

// tryOpen is one attempt of Open.
func tryOpen(ctx context.Context, js jetstream.JetStream, opts Options, patience time.Duration) (*Group, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	h := &history{js: js, stream: opts.Name, gate: newGate()}
	if err := h.open(ctx, &opts); err != nil {
		return nil, err
	}
	p, err := openPresence(ctx, js, &opts)
	if err != nil {
		return nil, err
	}
	g := &Group{opts: opts, history: h, presence: p, log: opts.Logger, patience: claimTimeout, feeds: make(map[string]*feed)}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.running.Go(g.watch)
	g.running.Go(func() { p.run(g.ctx, g.log) })
	return g, nil
}

// Close ends all memberships and the presence of the members, but not their
// connections. Publish and Join fail from then on. If the presence cannot be taken
// back before ctx ends, or within Options.PresenceTTL, it ends by itself.
func (g *Group) Close(ctx context.Context) error {
	g.cancel()
	g.mu.Lock()
	for _, f := range g.feeds {
		f.endLocked()
	}
	g.mu.Unlock()
	g.running.Wait()
	return g.presence.end(ctx)
}

// all returns the feeds that there are.
func (g *Group) all() []*feed {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.feeds))
}

// pending returns what members are sent for a message.
func (g *Group) pending(m Message) pending {
	var p *websocket.Prepared
	if g.opts.Encode != nil {
		p = g.opts.Encode(m)
	} else {
		p = websocket.Prepare(m.Type, m.Data)
	}
	return pending{m.Seq, p, len(m.Data)}
}

// checkInterval is how often a node asks whether it has the last message of each
// of its topics. The stream repeats a message to the nodes once, so one that is
// lost on its way is found by the next on its topic, or else so.
const checkInterval = 2 * time.Second

// watch finds messages that were lost on their way, until the group is closed.
func (g *Group) watch() {
	connected := g.history.js.Conn().StatusChanged(nats.CONNECTED)
	defer g.history.js.Conn().RemoveStatusListener(connected)
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-connected:
			g.log.Info("natsgroup: connected again")
		case <-ticker.C:
		}
		if err := g.check(); err != nil && g.ctx.Err() == nil {
			g.log.Warn("natsgroup: check of the topics", "error", err)
		}
	}
}

// check compares the last message of each topic with what its feed has seen.
func (g *Group) check() error {
	for feeds := range slices.Chunk(g.all(), batchTopics) {
		topics := make([]string, len(feeds))
		for i, f := range feeds {
			topics[i] = f.topic
		}
		lasts, upTo, err := g.history.lasts(g.ctx, topics)
		if err != nil {
			return err
		}
		for _, f := range feeds {
			f.checked(lasts[f.topic], upTo)
		}
	}
	return nil
}
