package stress

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fullduplex-go/websocket"
)

// A round is one connection from its opening to its end.
type round struct {
	plan *plan
	ends [2]*end
	tick atomic.Int64

	mu     sync.Mutex
	faults []string
	more   int // faults that are not kept

	acting  sync.WaitGroup        // writers
	running sync.WaitGroup        // readers
	early   *websocket.CloseError // the terminal error if the connection ended before it was told to
	results []result              // of the calls of Close
	listens bool                  // a Receiver had the reading of the closer when it closed
}

// A result is what Close returned at one end.
type result struct {
	end *end
	err error
}

// maxFaults is how many faults of a round are reported.
const maxFaults = 12

// Run plays the round of a seed. It returns nil, or an error that describes the
// round and what went wrong. No other round may run at the same time.
func Run(seed uint64) error {
	r := &round{plan: choose(seed)}
	before := takeInventory()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		r.play()
	}()
	select {
	case <-finished:
		before.compare(r.report)
		r.verifyTrace()
	case <-time.After(2 * patience):
		r.report("the round hangs:\n%s", stacks())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) == 0 {
		return nil
	}
	if r.more > 0 {
		r.faults = append(r.faults, fmt.Sprintf("and %d more", r.more))
	}
	return fmt.Errorf("%v\n%s", r.plan, strings.Join(r.faults, "\n"))
}

// report records a fault.
func (r *round) report(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.faults) == maxFaults {
		r.more++
		return
	}
	r.faults = append(r.faults, "- "+fmt.Sprintf(format, args...))
}

// now returns the time on the round's clock, which counts the calls of now.
func (r *round) now() int64 { return r.tick.Add(1) }

// random returns the generator of one goroutine.
func (r *round) random(stream int) *rand.Rand {
	return rand.New(rand.NewPCG(r.plan.seed, uint64(stream)))
}

// play opens the connection, runs all goroutines, ends the connection and checks
// the outcome.
func (r *round) play() {
	j, err := r.open()
	if err != nil {
		r.report("the connection could not be opened: %v", err)
		return
	}
	stop := make(chan struct{})
	r.startReaders()
	r.startWriters()
	meddling := r.startMeddlers(stop)
	if r.plan.busy {
		r.awaitBusy()
	} else {
		r.await("the writers to finish", r.acting.Wait)
	}
	close(stop)
	r.await("the meddlers to stop", meddling.Wait)
	r.clearDeadlines()
	if !r.plan.busy {
		r.settle()
	}
	r.end(j)
	r.await("the writers to return", r.acting.Wait)
	r.await("the readers to return", r.running.Wait)
	r.verify()
	for _, e := range r.ends {
		r.callEverything(e)
		e.conn.CloseNow()
		if s := e.shared.Load(); s != nil {
			s.cancel()
		}
	}
	j.close()
}

// open makes the two ends.
func (r *round) open() (*joint, error) {
	p := r.plan
	j, err := p.transport.join(r.random(1))
	if err != nil {
		return nil, err
	}
	for i := range r.ends {
		e := newEnd(i, p, r.report, r.now)
		r.ends[i] = e
		milestone := 0
		if i == p.closer {
			milestone = p.when
		}
		e.out = newLedger(e.letter, p.writers[i]+p.readers[i]+1, milestone, r.now, r.report) // one is that of the hooks
		e.setHooks(&p.config[i], r.random(100*i+90))
		p.config[i].Trace = &websocket.Trace{Closed: e.traceClosed}
	}
	client, server := r.ends[0], r.ends[1]
	client.in, server.in = server.out, client.out
	if p.entryPoint.viaReceiver {
		server.late = &lateReceiver{ready: make(chan struct{})}
	}
	client.conn, server.conn, err = p.entryPoint.open(j, p.transport, p.config[0], p.config[1], server.late)
	if err != nil {
		return nil, err
	}
	for _, e := range r.ends {
		e.group.Add(e.conn)
		close(e.open)
	}
	return j, nil
}

// traceClosed counts that it was told of the end, and may do what needs no waiting.
func (e *end) traceClosed(c *websocket.Conn, _ *websocket.CloseError) {
	if e.plan.after[e.index] == closeNowAfter {
		c.CloseNow()
	}
	e.closed.Add(1)
}

// startReaders starts the readers of both ends.
func (r *round) startReaders() {
	for i, e := range r.ends {
		for k := range r.plan.readers[i] {
			rd := &reader{end: e, id: k, rand: r.random(100*i + 10 + k), order: newOrder()}
			if r.plan.answers && i == 1 {
				rd.answer = &writer{end: e, id: r.plan.writers[i] + k, rand: r.random(100*i + 30 + k)}
			}
			r.running.Go(rd.run)
		}
	}
}

// startWriters starts the writers of both ends.
func (r *round) startWriters() {
	for i, e := range r.ends {
		for k := range r.plan.writers[i] {
			w := &writer{end: e, id: k, rand: r.random(100*i + 50 + k)}
			r.acting.Go(w.run)
		}
	}
}

// startMeddlers starts the meddlers of both ends.
func (r *round) startMeddlers(stop <-chan struct{}) *sync.WaitGroup {
	var meddling sync.WaitGroup
	for i, e := range r.ends {
		w := &writer{end: e, rand: r.random(100*i + 70)}
		meddling.Go(func() { w.meddle(stop) })
	}
	return &meddling
}

// await waits for something that must happen soon. If it does not, await reports
// the stacks of all goroutines and breaks the connection.
func (r *round) await(what string, wait func()) {
	waited := make(chan struct{})
	go func() {
		defer close(waited)
		wait()
	}()
	select {
	case <-waited:
		return
	case <-time.After(patience):
	}
	r.report("waited in vain for %s:\n%s", what, stacks())
	for _, e := range r.ends {
		e.ends(r.now())
		e.excuse(r.now(), "the round hung")
		e.conn.CloseNow()
	}
	<-waited
}

// awaitBusy waits until the closer has begun some messages, or everything is
// over.
func (r *round) awaitBusy() {
	closer := r.ends[r.plan.closer]
	over := make(chan struct{})
	go func() {
		r.acting.Wait()
		close(over)
	}()
	r.await("messages to be written", func() {
		select {
		case <-closer.out.reached:
		case <-over:
		}
	})
}

// clearDeadlines removes all deadlines.
func (r *round) clearDeadlines() {
	for _, e := range r.ends {
		if e.terminal() == nil && r.plan.interrupt != nothing {
			e.conn.SetReadDeadline(time.Time{})
			e.conn.SetWriteDeadline(time.Time{})
		}
	}
}

// excuses returns why the connection may have ended early.
func (r *round) excuses() []string {
	return slices.Concat(r.ends[0].excused(), r.ends[1].excused())
}

// settle waits until all messages reported as sent have arrived at both ends.
func (r *round) settle() {
	for range 2 { // the server may answer the last messages
		for _, e := range r.ends {
			r.drain(e)
			r.settleOne(e)
		}
	}
	for i, e := range r.ends {
		r.settlePings(e, r.ends[1-i])
	}
}

// settlePings waits until the Pong to the last Ping of SendPing has come, which the
// peer sends if it asks nobody.
func (r *round) settlePings(e, peer *end) {
	e.pings.stop()
	if peer.plan.hooks[peer.index]&onPing != 0 {
		return
	}
	late := time.After(patience / 3)
	for e.terminal() == nil && !e.pings.settled() {
		select {
		case <-time.After(time.Millisecond):
		case <-late:
			r.report("%s: the last Ping is not answered", roles[e.index])
			return
		}
	}
}

// drain waits until an end's queue is empty or the connection has ended.
func (r *round) drain(e *end) {
	if e.terminal() != nil {
		return
	}
	c := e.begin("Drain at rest", writing, context.Background())
	r.await("Drain", func() { c.judge(e.conn.Drain(c.ctx)) })
}

// settleOne waits until all messages that e sent have arrived.
func (r *round) settleOne(e *end) {
	late := time.After(patience / 3)
	for e.terminal() == nil {
		count, which := e.out.missing(r.promised(e, math.MaxInt64))
		if count == 0 && !e.out.underWay() && e.bodies.Load() == 0 {
			r.lookAtDropped(e)
			return
		}
		select {
		case <-e.out.arrivals:
		case <-time.After(time.Millisecond):
		case <-e.conn.Context().Done():
		case <-late:
			r.report("%s: %d messages never arrive: %s", roles[e.index], count, which)
			return
		}
	}
}

// promised returns the promise that all messages that e reported as sent before
// a time arrive.
func (r *round) promised(e *end, before int64) promise {
	p := promise{before: before, queued: true}
	if r.plan.config[e.index].SlowConsumer == websocket.DropOldest {
		p.dropped = int(e.conn.Stats().Dropped)
	}
	return p
}

// lookAtDropped compares the number of messages that the queue says it dropped
// with the number of missing ones.
func (r *round) lookAtDropped(e *end) {
	p := r.promised(e, math.MaxInt64)
	if p.dropped == 0 || e.out.anyNameless() {
		return
	}
	without := p
	without.dropped = 0
	if count, which := e.out.missing(without); count != p.dropped {
		r.report("%s: the queue dropped %d messages, and %d are missing: %s", roles[e.index], p.dropped, count, which)
	}
}

// end ends the connection as planned.
func (r *round) end(j *joint) {
	r.early = r.ends[r.plan.closer].terminal()
	closer, peer := r.ends[r.plan.closer], r.ends[1-r.plan.closer]
	r.listens = closer.handed.Load() && (r.plan.ending == closeOne || r.plan.ending == closeTwice || r.plan.ending == closeContext)
	switch r.plan.ending {
	case closeOne:
		r.closeAll(closer)
	case closeBoth:
		r.closeAll(closer, peer)
	case closeTwice:
		r.closeAll(closer, closer)
	case sendClose:
		r.sendClose(closer)
	case closeContext:
		r.closeContext(closer)
	case closeNow:
		closer.ends(r.now())
		closer.conn.CloseNow()
	case cut:
		closer.ends(r.now())
		peer.ends(r.now())
		j.follow(r.ends)
		j.cut(r.random(2), r.plan.closeRead[0] >= 0)
	}
}

// closeAll calls Close of some ends at the same time.
func (r *round) closeAll(ends ...*end) {
	results := make([]result, len(ends))
	var closing sync.WaitGroup
	for i, e := range ends {
		e.ends(r.now())
		closing.Go(func() {
			results[i] = result{e, e.conn.Close(r.plan.code, r.plan.reason)}
		})
	}
	r.await("Close", closing.Wait)
	r.results = results
}

// sendClose calls SendClose of an end.
func (r *round) sendClose(e *end) {
	e.ends(r.now())
	err := e.conn.SendClose(r.plan.code, r.plan.reason)
	if err != nil && r.early == nil && len(r.excuses()) == 0 {
		r.report("SendClose returned %v", err)
	}
}

// closeContext calls CloseContext of an end.
func (r *round) closeContext(e *end) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if r.plan.wait >= 0 {
		ctx, cancel = context.WithTimeout(ctx, r.plan.wait)
	}
	defer cancel()
	e.ends(r.now())
	var res result
	r.await("CloseContext", func() { res = result{e, e.conn.CloseContext(ctx, r.plan.code, r.plan.reason)} })
	if errors.Is(res.err, context.DeadlineExceeded) && ctx.Err() != nil {
		for _, e := range r.ends {
			e.excuse(r.now(), "the context of CloseContext ended")
		}
	}
	r.results = []result{res}
}

// stacks returns the stacks of all goroutines.
func stacks() string {
	for buf := make([]byte, 64<<10); ; buf = make([]byte, 2*len(buf)) {
		if n := runtime.Stack(buf, true); n < len(buf) {
			return string(buf[:n])
		}
	}
}
