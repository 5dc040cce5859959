//go:build linux

package measure

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/fullduplex-go/websocket/bench/peer"
)

// A Plan says how long runs take.
type Plan struct {
	Rounds   int
	Warm     time.Duration
	Measured time.Duration
	// Profile, if set, returns the file for the CPU profile of a subject.
	Profile func(Row, peer.Peer) string
}

// runLimit bounds a run, in addition to the measured time.
const runLimit = 60 * time.Second

// onlyHTTP are the libraries that need net/http's server.
var onlyHTTP = []string{"gorilla", "coder"}

// Takes reports whether p can be the subject of the row.
func (r Row) Takes(p peer.Peer) bool {
	e, external := p.(peer.External)
	switch {
	case r.Only != nil && !slices.Contains(r.Only, p.Name()):
		return false
	case external:
		return r.Kind == Echo && !r.TLS && e.HTTP2 == r.HTTP2
	case r.Raw:
		return !slices.Contains(onlyHTTP, p.Name())
	case r.Kind == EchoClient:
		return p != peer.Floor
	default:
		return true
	}
}

// Run measures p in the row once.
func Run(ctx context.Context, row Row, p peer.Peer, plan Plan) (result Result, err error) {
	plan.Measured = max(plan.Measured, row.Lasts)
	ctx, cancel := context.WithTimeout(ctx, plan.Warm+plan.Measured+runLimit)
	defer cancel()
	subjectCore, loadCore, err := cores()
	if err != nil {
		return Result{}, err
	}
	r := &run{ctx: ctx, row: row, peer: p, plan: plan, subjectCore: subjectCore, loadCore: loadCore}
	defer func() {
		// An error at the end of a part matters only if there was none before.
		if ended := r.end(); err == nil {
			err = ended
		}
	}()
	if row.Kind == EchoClient {
		return r.clients()
	}
	return r.server()
}

// A run is one measurement.
type run struct {
	ctx                   context.Context
	row                   Row
	peer                  peer.Peer
	plan                  Plan
	subjectCore, loadCore int
	subject, load         *process
}

// end ends the processes that were started.
func (r *run) end() error {
	var all []error
	for _, p := range []*process{r.load, r.subject} {
		if p != nil {
			all = append(all, p.end())
		}
	}
	return errors.Join(all...)
}

// startSubject starts the subject; addr is that of the load if it is a client.
func (r *run) startSubject(addr string) (door, error) {
	if e, external := r.peer.(peer.External); external {
		at, err := r.startExternal(e)
		return door{Addr: at}, err
	}
	spec := subjectSpec{Row: r.row, Peer: r.peer.Name(), Addr: addr}
	if r.plan.Profile != nil {
		spec.Profile = r.plan.Profile(r.row, r.peer)
	}
	var err error
	if r.subject, err = startPart(r.ctx, subjectPart, r.subjectCore, spec); err != nil {
		return door{}, err
	}
	a, err := r.subject.next()
	return a.Door, err
}

// startExternal starts a subject that is a program of its own.
func (r *run) startExternal(e peer.External) (addr string, err error) {
	if addr, err = freeAddr(); err != nil {
		return "", err
	}
	if r.subject, err = startProgram(r.ctx, e.Program, r.subjectCore, addr); err != nil {
		return "", err
	}
	return addr, awaitListener(r.ctx, addr)
}

// startLoad starts the load. at says how to reach a server.
func (r *run) startLoad(at door) (err error) {
	spec := loadSpec{
		Row: r.row, Floor: r.peer == peer.Floor, Addr: at.Addr, Cert: at.Cert,
		Warm: r.plan.Warm, Measured: r.plan.Measured,
	}
	if r.subject != nil {
		spec.PID = r.subject.cmd.Process.Pid
	}
	r.load, err = startPart(r.ctx, loadPart, r.loadCore, spec)
	return err
}

// server measures a server, which is started first.
func (r *run) server() (Result, error) {
	at, err := r.startSubject("")
	if err != nil {
		return Result{}, err
	}
	switch r.row.Kind {
	case Idle:
		return r.memory(at)
	case Echo:
		return r.counted(at)
	default:
		return r.others(at)
	}
}

// memory measures the memory of a server's connections.
func (r *run) memory(at door) (Result, error) {
	before, err := r.subject.ask(askMemory)
	if err != nil {
		return Result{}, err
	}
	if err := r.startLoad(at); err != nil {
		return Result{}, err
	}
	a, err := r.load.next()
	if err != nil {
		return a.Result, err
	}
	after, err := r.subject.ask(askMemory)
	a.Result.Memory = after.Memory.perConnection(before.Memory, r.row.Conns)
	return a.Result, err
}

// counted measures a server that echoes, and counts allocations afterwards.
func (r *run) counted(at door) (Result, error) {
	if err := r.startLoad(at); err != nil {
		return Result{}, err
	}
	if _, err := r.load.next(); err != nil {
		return Result{}, err
	}
	before, known, err := r.allocs()
	if err != nil {
		return Result{}, err
	}
	a, err := r.load.ask(r.subject.cmd.Process.Pid)
	if err != nil {
		return a.Result, err
	}
	after, _, err := r.allocs()
	a.Result.Allocs = -1
	if known && a.Result.Counted > 0 {
		a.Result.Allocs = float64(after-before) / float64(a.Result.Counted)
	}
	return a.Result, err
}

// allocs asks the subject what it has allocated. A program of its own does not
// know.
func (r *run) allocs() (objects uint64, known bool, err error) {
	if !r.subject.talks() {
		return 0, false, nil
	}
	a, err := r.subject.ask(askCounts)
	return a.Memory.Allocs, true, err
}

// others measures a server in the rows of other kinds. If the load says that the
// silence begins, the server must have come to rest.
func (r *run) others(at door) (Result, error) {
	if err := r.startLoad(at); err != nil {
		return Result{}, err
	}
	a, err := r.load.next()
	if err != nil || r.row.Kind != Quiet {
		return a.Result, err
	}
	if _, err := r.subject.ask(askRest); err != nil {
		return Result{}, err
	}
	a, err = r.load.ask(r.subject.cmd.Process.Pid)
	return a.Result, err
}

// clients measures a client. The load is started first, and is told the client's
// process ID afterwards.
func (r *run) clients() (Result, error) {
	if err := r.startLoad(door{}); err != nil {
		return Result{}, err
	}
	a, err := r.load.next()
	if err != nil {
		return Result{}, err
	}
	if _, err := r.startSubject(a.Door.Addr); err != nil {
		return Result{}, err
	}
	a, err = r.load.ask(r.subject.cmd.Process.Pid)
	return a.Result, err
}
