package websocket

import (
	"os"
	"syscall"
	"unsafe"
)

// An eventQueue tells which descriptors are ready, by epoll. They are
// registered once, for everything and edge-triggered: an event says that
// something has changed since the last. The runtime waits for the queue's own
// descriptor, so that no thread is blocked.
//
// One goroutine at a time uses it, but add and remove may be called from any.
type eventQueue struct {
	fd      int
	nudge   int                   // an eventfd in the queue, to wake who waits
	file    *os.File              // of fd
	raw     syscall.RawConn       // of file
	onReady func(fd uintptr) bool // poll
	polls   int                   // by onReady, in the last wait
	onNudge func(fd uintptr) bool // awaitNudge
	nudged  bool                  // onNudge has written to nudge
	n       int                   // of events
	events  [128]syscall.EpollEvent
}

// canPoll says whether this system has event queues.
const canPoll = true

// Flags of epoll. The package syscall has EPOLLET as a negative number on some
// systems.
const (
	epollET  = 1 << 31
	allEdges = syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | epollET
	oneEdge  = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT
)

// open makes q a queue of the system.
func (q *eventQueue) open() (err error) {
	if q.fd, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err = syscall.SetNonblock(q.fd, true); err != nil { // so that the runtime waits for it
		syscall.Close(q.fd)
		return os.NewSyscallError("fcntl", err)
	}
	q.file = os.NewFile(uintptr(q.fd), "epoll")
	if err = q.openNudge(); err != nil {
		q.file.Close()
		return err
	}
	q.onReady = func(uintptr) bool {
		q.polls++
		return q.poll()
	}
	q.onNudge = q.awaitNudge
	q.raw, err = q.file.SyscallConn()
	return err
}

// openNudge adds an eventfd to the queue.
func (q *eventQueue) openNudge() error {
	fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return os.NewSyscallError("eventfd2", errno)
	}
	q.nudge = int(fd)
	err := q.add(q.nudge, 0)
	if err != nil {
		syscall.Close(q.nudge)
	}
	return err
}

// add registers fd. Its events carry generation. What it is ready for already is
// an event.
func (q *eventQueue) add(fd int, generation uint32) error {
	return q.control(syscall.EPOLL_CTL_ADD, fd, allEdges, generation)
}

// addOnce registers fd for one event: that something has come, also before.
func (q *eventQueue) addOnce(fd int, generation uint32) error {
	return q.control(syscall.EPOLL_CTL_ADD, fd, oneEdge, generation)
}

// rearm registers fd, which addOnce did before, for another event.
func (q *eventQueue) rearm(fd int, generation uint32) error {
	return q.control(syscall.EPOLL_CTL_MOD, fd, oneEdge, generation)
}

// control calls epoll_ctl.
func (q *eventQueue) control(op, fd int, events, generation uint32) error {
	e := syscall.EpollEvent{Events: events, Fd: int32(fd), Pad: int32(generation)}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(q.fd, op, fd, &e))
}

// remove ends the registration of fd, which must still be open: a duplicate
// elsewhere would keep it registered for ever.
func (q *eventQueue) remove(fd int) { syscall.EpollCtl(q.fd, syscall.EPOLL_CTL_DEL, fd, nil) }

// poll looks for events and reports whether there are any.
func (q *eventQueue) poll() bool {
	// With a time of 0 the call does not wait, so the runtime need not know.
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(q.fd),
		uintptr(unsafe.Pointer(&q.events)), uintptr(len(q.events)), 0, 0, 0)
	if q.n = int(n); errno != 0 {
		q.n = 0
	}
	return q.n > 0
}

// wait is poll for a caller that has nothing else to do: it waits until there
// are events, and reports whether it had to.
func (q *eventQueue) wait() bool {
	q.polls = 0
	q.raw.Read(q.onReady)
	return q.polls > 1
}

// makeWay lets other goroutines run, in such a way that the scheduler has to
// look at the network: it waits for an event of its own. The events of the last
// poll stay.
func (q *eventQueue) makeWay() {
	q.nudged = false
	q.raw.Read(q.onNudge)
}

// awaitNudge is called by the runtime with the queue's descriptor, at once and
// then when that is ready. It reports whether the wait is over. What the runtime
// knew before the first call is forgotten, so that the nudge is seen.
func (q *eventQueue) awaitNudge(uintptr) bool {
	if q.nudged {
		return true
	}
	q.nudged = true
	_, err := syscall.Write(q.nudge, []byte{7: 1})
	return err != nil
}

// event returns the i-th event: the descriptor, or nil if it is gone, and what
// it is ready for.
func (q *eventQueue) event(i int) (*descriptor, readiness) {
	e := &q.events[i]
	d := descriptors.find(int(e.Fd), uint32(e.Pad))
	var r readiness
	if e.Events&(syscall.EPOLLIN|syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		r |= readyToRead
	}
	if e.Events&(syscall.EPOLLOUT|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		r |= readyToWrite
	}
	if e.Events&(syscall.EPOLLRDHUP|syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		r |= readyToEnd
	}
	return d, r
}
