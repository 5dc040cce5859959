//go:build !race

package websocket

import (
	"context"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// A task is what an end does with each message. Both ends are in this process,
// and both count.
type task struct {
	name    string
	send    func(ctx context.Context, c endpoint, p []byte) error
	receive func(ctx context.Context, c endpoint, into []byte) error
}

var tasks = []task{
	{"Write and Read", writeWhole, readWhole},
	{"Write and Reader", writeWhole, readStreamed},
	{"Writer and Reader", writeStreamed, readStreamed},
}

// TestAllocations: no task allocates more than with the original. The race
// detector makes pools forget, and would make it fail.
func TestAllocations(t *testing.T) {
	for _, bounded := range []bool{false, true} {
		for _, task := range tasks {
			ctx, cancel := context.WithCancel(background)
			defer cancel()
			if !bounded {
				ctx = background
			}
			allocated := map[string]float64{}
			for _, lib := range []library{coder, this} {
				s, c := connect(t, lib, lib, options{}, options{})
				p, into := pattern(128), make([]byte, 4096)
				allocated[lib.name] = testing.AllocsPerRun(500, func() {
					require.NoError(t, task.send(ctx, c, p))
					require.NoError(t, task.receive(ctx, s, into))
				})
			}
			require.LessOrEqual(t, allocated[this.name], allocated[coder.name], "%s, with a context that can end: %v", task.name, bounded)
		}
	}
}

func writeWhole(ctx context.Context, c endpoint, p []byte) error {
	return c.Write(ctx, MessageBinary, p)
}

func readWhole(ctx context.Context, c endpoint, _ []byte) error {
	_, _, err := c.Read(ctx)
	return err
}

func writeStreamed(ctx context.Context, c endpoint, p []byte) error {
	w, err := c.Writer(ctx, MessageBinary)
	if err != nil {
		return err
	}
	if _, err := w.Write(p); err != nil {
		return err
	}
	return w.Close()
}

func readStreamed(ctx context.Context, c endpoint, into []byte) error {
	_, r, err := c.Reader(ctx)
	for err == nil {
		_, err = r.Read(into)
	}
	if err == io.EOF {
		return nil
	}
	return err
}
