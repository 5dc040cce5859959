package stress

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// An inventory lists what a round could leave behind in the process.
type inventory struct {
	goroutines map[string]bool // their numbers
	sockets    int             // -1 where they cannot be counted
}

// takeInventory returns the inventory of the process.
func takeInventory() *inventory {
	inv := &inventory{goroutines: make(map[string]bool), sockets: openSockets()}
	for _, stack := range strings.Split(stacks(), "\n\n") {
		inv.goroutines[number(stack)] = true
	}
	return inv
}

// number returns the part of a stack that identifies its goroutine, such as
// "goroutine 7".
func number(stack string) string {
	head, _, _ := strings.Cut(stack, " [")
	return head
}

// compare waits until everything newer than inv is gone, and reports what
// remains.
func (inv *inventory) compare(report func(format string, args ...any)) {
	deadline := time.Now().Add(patience)
	for {
		left, sockets := inv.newGoroutines(), openSockets()
		switch {
		case len(left) == 0 && sockets <= inv.sockets:
			return
		case time.Now().After(deadline):
			report("left behind: %d sockets and %d goroutines\n%s", sockets-inv.sockets, len(left), strings.Join(left, "\n\n"))
			return
		}
		<-time.After(time.Millisecond)
	}
}

// pollerFunc is the function of the goroutines that serve all parked connections
// of the process, and stay.
const pollerFunc = "websocket.(*poller).run("

// newGoroutines returns the stacks of goroutines that are not in inv, and do not
// belong to a poller. The first stack is that of the caller.
func (inv *inventory) newGoroutines() (left []string) {
	for _, stack := range strings.Split(strings.TrimSpace(stacks()), "\n\n")[1:] {
		if !inv.goroutines[number(stack)] && !strings.Contains(stack, pollerFunc) {
			left = append(left, stack)
		}
	}
	return left
}

// openSockets returns the number of sockets that the process has open, or -1.
func openSockets() int {
	names, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(names) == 0 {
		return -1
	}
	n := 0
	for _, name := range names {
		if target, err := os.Readlink(name); err == nil && strings.HasPrefix(target, "socket:") {
			n++
		}
	}
	return n
}
