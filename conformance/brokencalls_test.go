package conformance

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// sticky never forgets that it led.
type sticky struct {
	elector
	led atomic.Bool
}

func (e *sticky) IsLeader() bool {
	if _, ok := e.Term(); ok {
		e.led.Store(true)
	}
	return e.led.Load()
}

func (e *sticky) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	return e.elector.Run(ctx, func(ctx context.Context, t multilock.Term) error {
		e.led.Store(true)
		return work(ctx, t)
	})
}

// dropper keeps one change for a subscriber that does not read.
type dropper struct{ elector }

func (e *dropper) Changes(ctx context.Context, mask multilock.Kind) iter.Seq[multilock.Change] {
	all := e.elector.Changes(ctx, mask)
	buffer := make(chan multilock.Change, 1)
	go func() {
		defer close(buffer)
		for c := range all {
			select {
			case buffer <- c:
			default:
			}
		}
	}()
	return func(yield func(multilock.Change) bool) {
		for c := range buffer {
			if !yield(c) {
				return
			}
		}
	}
}

// mute leaves out one kind of change.
type mute struct {
	elector
	kind multilock.Kind
}

func (e *mute) Changes(ctx context.Context, mask multilock.Kind) iter.Seq[multilock.Change] {
	return e.elector.Changes(ctx, mask&^e.kind)
}

type deafWaiter struct{ elector }

func (e *deafWaiter) WaitForLeadership(ctx context.Context) (multilock.Term, error) {
	if t, ok := e.Term(); ok {
		return t, nil
	}
	if e.Status().State == multilock.StateStopped {
		return multilock.Term{}, multilock.ErrStopped
	}
	time.Sleep(2 * time.Second)
	for c := range e.Changes(ctx, multilock.Acquired) {
		return c.Term, nil
	}
	return multilock.Term{}, ctx.Err()
}

type asker struct {
	elector
	b *multilock.Backend
	o multilock.Options
}

func (e *asker) TryAcquire(ctx context.Context) (bool, error) {
	if e.IsLeader() {
		_, _ = e.b.Driver().Acquire(ctx, driver.AcquireRequest{Group: e.o.Group, Participant: "asker", Nonce: driver.NewNonce(), TTL: e.o.HeartbeatTimeout})
	}
	return e.elector.TryAcquire(ctx)
}

type nostalgic struct {
	elector
	mu  sync.Mutex
	rec multilock.Record
}

func (e *nostalgic) WaitForLeader(ctx context.Context) (multilock.Record, error) {
	rec, err := e.elector.WaitForLeader(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rec = rec
	return rec, err
}

func (e *nostalgic) Leader(context.Context) (multilock.Record, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rec, nil
}

type startsOnce struct {
	elector
	started atomic.Bool
}

func (e *startsOnce) Start(ctx context.Context) error {
	if e.started.Swap(true) {
		return nil
	}
	return e.elector.Start(ctx)
}
