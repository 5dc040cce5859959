package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A fleet is the server and its clients.
type fleet struct {
	server  *process
	clients []*process
	conns   int // that are open
}

// A step is the server with a number of connections.
type step struct {
	weight
	rate float64 // at which the latest of them were accepted, per second
}

// A result is what was measured.
type result struct {
	steps    []step
	duration time.Duration // of the silence
	cpu      time.Duration // that the server used in it
}

// measure measures what s says.
func measure(ctx context.Context, s settings) (r result, err error) {
	f := new(fleet)
	defer func() { err = errors.Join(err, f.end()) }()
	if err := f.launch(ctx, s); err != nil {
		return r, err
	}
	for _, conns := range s.steps() {
		next, err := f.grow(conns)
		if err != nil {
			return r, err
		}
		r.steps = append(r.steps, next)
	}
	r.duration = s.duration
	r.cpu, err = f.silence(ctx, s.duration)
	return r, err
}

// launch starts the processes.
func (f *fleet) launch(ctx context.Context, s settings) (err error) {
	if f.server, err = start(ctx, "server"); err != nil {
		return err
	}
	var url string
	if err := f.server.ask(askURL, &url); err != nil {
		return err
	}
	for i := range s.clients {
		c, err := start(ctx, "client", url, fmt.Sprint(i*s.share(s.conns)))
		if err != nil {
			return err
		}
		f.clients = append(f.clients, c)
	}
	return nil
}

// grow opens connections until there are n, and weighs the server.
func (f *fleet) grow(n int) (next step, err error) {
	began := time.Now()
	errs := make([]error, len(f.clients))
	var all sync.WaitGroup
	for i, c := range f.clients {
		all.Go(func() {
			share := n*(i+1)/len(f.clients) - n*i/len(f.clients)
			errs[i] = c.ask(share, new(int))
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return next, err
	}
	next.rate = float64(n-f.conns) / time.Since(began).Seconds()
	f.conns = n
	if err := f.server.ask(askWeight, &next.weight); err != nil {
		return next, err
	}
	return next, f.complete(next.Conns)
}

// complete returns an error unless the server has all connections.
func (f *fleet) complete(conns int) error {
	if conns != f.conns {
		return fmt.Errorf("%d of %d connections are left", conns, f.conns)
	}
	return nil
}

// silence returns the CPU time that the server uses in d, in which nobody says
// anything.
func (f *fleet) silence(ctx context.Context, d time.Duration) (cpu time.Duration, err error) {
	var before, after usage
	if err := f.server.ask(askUsage, &before); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(d):
	}
	if err := f.server.ask(askUsage, &after); err != nil {
		return 0, err
	}
	return after.CPU - before.CPU, f.complete(after.Conns)
}

// end ends the processes.
func (f *fleet) end() error {
	var errs []error
	for _, c := range f.clients {
		errs = append(errs, c.end())
	}
	if f.server != nil {
		errs = append(errs, f.server.end())
	}
	return errors.Join(errs...)
}
