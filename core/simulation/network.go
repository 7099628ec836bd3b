package simulation

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var errNetwork = errors.New("simulation: connection reset")

// network is the way from one machine to the store. It carries each request by
// itself, so that requests and replies overtake each other.
type network struct {
	m      *machine
	driver fullDriver

	mu         sync.Mutex
	cutTo      bool // requests are lost
	cutFrom    bool // replies are lost
	slow       bool // every message takes seconds
	background sync.WaitGroup
}

type fullDriver interface {
	driver.Driver
	driver.Watcher
	driver.BatchAcquirer
}

// fate is what the network does to one request.
type fate struct {
	to, from  time.Duration // latencies
	loseTo    bool
	loseFrom  bool
	again     time.Duration // a second execution that much later, if not 0
	unawaited bool          // the caller hears of an error at once
	deaf      bool          // the call ignores that its context ended
}

func (n *network) fate() fate {
	n.mu.Lock()
	cutTo, cutFrom, slow := n.cutTo, n.cutFrom, n.slow
	n.mu.Unlock()
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	r := n.m.rng
	delay := func() time.Duration {
		d := time.Duration(r.Int64N(int64(5 * time.Millisecond)))
		if slow || r.IntN(20) == 0 {
			d += time.Duration(r.Int64N(int64(6 * time.Second)))
		}
		return d + 1
	}
	f := fate{to: delay(), from: delay()}
	f.loseTo = cutTo || r.IntN(50) == 0
	f.loseFrom = cutFrom || r.IntN(30) == 0
	if r.IntN(15) == 0 {
		f.again = time.Duration(r.Int64N(int64(20 * time.Second)))
	}
	f.unawaited = r.IntN(3) == 0
	f.deaf = r.IntN(8) == 0
	return f
}

// carry takes one request to the store and its reply back. execute runs at the
// store, perhaps twice, perhaps after the caller gave up; it returns a function
// that hands the reply to the caller.
func (n *network) carry(ctx context.Context, execute func() (reply func())) error {
	n.m.pass()
	f := n.fate()
	replies := make(chan func(), 1)
	failed := make(chan struct{})
	n.background.Go(func() {
		time.Sleep(f.to)
		if f.loseTo {
			if f.unawaited {
				close(failed)
			}
			return
		}
		reply := execute()
		if f.again > 0 {
			n.background.Go(func() {
				time.Sleep(f.again)
				execute()
			})
		}
		time.Sleep(f.from)
		n.m.pass()
		if f.loseFrom {
			if f.unawaited {
				close(failed)
			}
			return
		}
		replies <- reply
	})
	done := ctx.Done()
	if f.deaf && !f.loseTo && !f.loseFrom {
		done = nil
	}
	select {
	case reply := <-replies:
		n.m.pass()
		reply()
		return nil
	case <-failed:
		n.m.pass()
		return errNetwork
	case <-done:
		n.m.pass()
		return context.Cause(ctx)
	}
}

// Acquire implements driver.Driver.
func (n *network) Acquire(ctx context.Context, req driver.AcquireRequest) (g driver.Grant, err error) {
	if e := n.carry(ctx, func() func() {
		gg, ee := n.driver.Acquire(context.Background(), req)
		return func() { g, err = gg, ee }
	}); e != nil {
		return driver.Grant{}, e
	}
	return g, err
}

// Renew implements driver.Driver.
func (n *network) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	_ = n.carry(ctx, func() func() {
		var mu sync.Mutex
		var all []driver.RenewResult
		n.driver.Renew(context.Background(), reqs, func(r driver.RenewResult) {
			mu.Lock()
			defer mu.Unlock()
			all = append(all, r)
		})
		return func() {
			for _, r := range all {
				report(r)
			}
		}
	})
}

// Resign implements driver.Driver.
func (n *network) Resign(ctx context.Context, t driver.Term) (err error) {
	if e := n.carry(ctx, func() func() {
		ee := n.driver.Resign(context.Background(), t)
		return func() { err = ee }
	}); e != nil {
		return e
	}
	return err
}

// Leader implements driver.Driver.
func (n *network) Leader(ctx context.Context, group string) (rec driver.Record, err error) {
	if e := n.carry(ctx, func() func() {
		r, ee := n.driver.Leader(context.Background(), group)
		return func() { rec, err = r, ee }
	}); e != nil {
		return driver.Record{}, e
	}
	return rec, err
}

// Close implements driver.Driver.
func (n *network) Close() error { return n.driver.Close() }

// Watch implements driver.Watcher: wake-ups take their time, and some are lost.
func (n *network) Watch(ctx context.Context, sink driver.Sink) (driver.Subscription, error) {
	return n.driver.Watch(ctx, &slowSink{n, sink})
}

type slowSink struct {
	n    *network
	sink driver.Sink
}

func (s *slowSink) later(f func()) {
	fate := s.n.fate()
	if fate.loseFrom {
		return
	}
	s.n.background.Go(func() {
		time.Sleep(fate.from)
		s.n.m.pass()
		f()
	})
}

func (s *slowSink) Wake(group string)                 { s.later(func() { s.sink.Wake(group) }) }
func (s *slowSink) WakeAll()                          { s.later(s.sink.WakeAll) }
func (s *slowSink) Lost(group string, n driver.Nonce) { s.later(func() { s.sink.Lost(group, n) }) }
