package websocket

import (
	"math/bits"
	"sync"
	"time"
)

// A wheel finds out which of very many members are due. It costs a member two
// words, and to schedule or remove one takes a few instructions.
//
// Each level has 64 slots. What is due at an instant is in the slot that ends
// then, rounded up to the grain of its level, which is the finest that reaches
// so far:
//
//	level     0        1        2        ...  9       ...  36
//	grain     1.05 ms  2.10 ms  4.19 ms  ...  0.54 s  ...  2.3 years
//	reaches   67 ms    134 ms   268 ms   ...  34 s    ...  146 years
//
// So no member is taken early, nor later than a 31st of its delay or, if that
// is more, the grain of level 0. How often there is something to take is a
// matter of slots and not of members.
//
// A clockwork, which has its lock, calls the methods. The instants are positive.
type wheel[T any, P wheelMember[T]] struct {
	passed  instant                     // slots that ended by then were taken
	next    instant                     // when the first marked slot ends; 0: none is marked
	members int                         // those that are scheduled, also in batches
	levels  uint64                      // a bit for each level with a marked slot
	marks   [wheelLevels]uint64         // a bit for each slot that has, or had, a member
	slots   [wheelLevels][wheelSlots]*T // the first member of each
}

// The measures of a wheel.
const (
	wheelSlots  = 64 // in a level: a bit each of a word
	wheelGrain  = 20 // the grain of level 0 is 1<<wheelGrain ns, that of each level twice that of the one below
	wheelReach  = 26 // level 0 reaches 1<<wheelReach ns, all of its slots
	wheelLevels = 62 - wheelReach + 2
)

// A wheelMember has an entry in a wheel.
type wheelMember[T any] interface {
	*T
	wheelEntry() *wheelEntry[T]
	onDue() // called when it is due, without the wheel's lock and once for each schedule
}

// A wheelEntry links a member with the others in its slot. The lock of the
// wheel guards it.
type wheelEntry[T any] struct {
	next *T  // in the slot; nil: it is the last
	back **T // what points to the member; nil: it is not scheduled
}

// A wheelBatch is the members of a slot that was taken. They are scheduled, and
// may be removed, until pop returns them.
type wheelBatch[T any] struct{ first *T }

// schedule makes p due at an instant, instead of at another. The time is at.
func (w *wheel[T, P]) schedule(p P, due, at instant) {
	w.remove(p)
	if w.next == 0 {
		w.passed = at
	} else {
		w.passed = max(w.passed, min(at, w.next-1))
	}
	level, slot, end := w.place(max(due, w.passed+1))
	w.levels |= 1 << level
	w.marks[level] |= 1 << slot
	if w.next == 0 || end < w.next {
		w.next = end
	}
	first := &w.slots[level][slot]
	e := p.wheelEntry()
	e.next, e.back = *first, first
	if e.next != nil {
		P(e.next).wheelEntry().back = &e.next
	}
	*first = p
	w.members++
}

// place returns the slot for what is due at an instant, which has not passed,
// and when that slot ends.
func (w *wheel[T, P]) place(due instant) (level, slot int, end instant) {
	level = bits.Len64(uint64(due-w.passed) >> wheelReach)
	number := slotNumber(due, level)
	if number-w.passed>>(wheelGrain+level) > wheelSlots {
		level++ // rounding up has gone beyond its reach
		number = slotNumber(due, level)
	}
	return level, int(number % wheelSlots), number << (wheelGrain + level)
}

// slotNumber returns how many slots of a level have ended when that of an
// instant ends. Their remainders are the indices.
func slotNumber(i instant, level int) instant {
	grain := instant(1) << (wheelGrain + level)
	return (i + grain - 1) >> (wheelGrain + level)
}

// remove makes p due at no time, if it was scheduled.
func (w *wheel[T, P]) remove(p P) {
	e := p.wheelEntry()
	if e.back == nil {
		return
	}
	*e.back = e.next
	if e.next != nil {
		P(e.next).wheelEntry().back = e.back
	}
	e.next, e.back = nil, nil
	if w.members--; w.members == 0 {
		w.unmarkAll()
	}
}

// unmarkAll unmarks all slots, which are empty.
func (w *wheel[T, P]) unmarkAll() {
	for ; w.levels != 0; w.levels &= w.levels - 1 {
		w.marks[bits.TrailingZeros64(w.levels)] = 0
	}
	w.next = 0
}

// take takes the first slot if it has ended at an instant, and returns what is
// in it. Nil is nothing, and says nothing of the next slot.
func (w *wheel[T, P]) take(at instant) *wheelBatch[T] {
	if w.next == 0 || w.next > at {
		return nil
	}
	level, slot := w.first()
	w.passed = w.next - 1 // other levels may have slots that end at the same time
	if w.marks[level] &^= 1 << slot; w.marks[level] == 0 {
		w.levels &^= 1 << level
	}
	w.next = 0
	if w.levels != 0 {
		w.first()
	}
	first := &w.slots[level][slot]
	if *first == nil {
		return nil
	}
	b := &wheelBatch[T]{*first}
	P(*first).wheelEntry().back = &b.first
	*first = nil
	return b
}

// first returns the marked slot that ends first, and sets next. There must be
// one.
func (w *wheel[T, P]) first() (level, slot int) {
	w.next = 0
	for levels := w.levels; levels != 0; levels &= levels - 1 {
		l := bits.TrailingZeros64(levels)
		number := w.passed>>(wheelGrain+l) + 1 // of the first slot that may be marked
		number += instant(bits.TrailingZeros64(bits.RotateLeft64(w.marks[l], -int(number%wheelSlots))))
		if end := number << (wheelGrain + l); w.next == 0 || end < w.next {
			level, slot, w.next = l, int(number%wheelSlots), end
		}
	}
	return level, slot
}

// pop returns a member of b, which is no longer scheduled, or nil if there is
// none.
func (w *wheel[T, P]) pop(b *wheelBatch[T]) P {
	p := P(b.first)
	if p != nil {
		w.remove(p)
	}
	return p
}

// A clockwork drives a wheel: it calls the members that are due. It has no
// goroutine, and one timer, which is stopped while nobody is scheduled. The
// zero value is ready. Members are called in no particular order. All methods
// may be called from any goroutine, but not in a bubble of testing/synctest, to
// which the timer would belong.
type clockwork[T any, P wheelMember[T]] struct {
	mu    sync.Mutex // is the last to be locked
	wheel wheel[T, P]
	timer *time.Timer // calls run; nil before the first schedule
	alarm instant     // when the timer fires; 0: it is stopped
}

// schedule makes p due at an instant, instead of at another. The time is at.
func (k *clockwork[T, P]) schedule(p P, due, at instant) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wheel.schedule(p, due, at)
	k.setAlarmLocked()
}

// remove makes p due at no time. It may be that it has just become due, and is
// about to be called.
func (k *clockwork[T, P]) remove(p P) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wheel.remove(p)
	k.setAlarmLocked()
}

// setAlarmLocked sets the timer to when the next slot ends. The caller holds
// k.mu.
func (k *clockwork[T, P]) setAlarmLocked() {
	next := k.wheel.next
	switch {
	case next == k.alarm:
	case next == 0:
		k.timer.Stop()
	case k.timer == nil:
		k.timer = time.AfterFunc(next.until(), k.run)
	default:
		k.timer.Reset(next.until())
	}
	k.alarm = next
}

// run is called by the timer. Each slot has a goroutine of its own, so that it
// does not hold up the next.
func (k *clockwork[T, P]) run() {
	k.mu.Lock()
	k.alarm = 0
	b := k.wheel.take(now())
	k.setAlarmLocked()
	k.mu.Unlock()
	if b != nil {
		k.callAll(b)
	}
}

// callsAlone is how many members a goroutine calls before another helps it.
const callsAlone = 256

// callAll calls the members of b.
func (k *clockwork[T, P]) callAll(b *wheelBatch[T]) {
	for n := 1; ; n++ {
		p := k.pop(b)
		if p == nil {
			return
		}
		if n%callsAlone == 0 {
			go k.callAll(b)
		}
		p.onDue()
	}
}

// pop returns the next member of b to call, or nil.
func (k *clockwork[T, P]) pop(b *wheelBatch[T]) P {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.wheel.pop(b)
	k.setAlarmLocked()
	return p
}
