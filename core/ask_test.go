package multilock

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Who asks while the attempt that wins is under way is told with it, and does not
// wait for the end of the term.
func TestTryAcquireDuringTheAttemptThatWins(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		s.set(func() { s.onAcquireReply = func(driver.AcquireRequest) error { time.Sleep(time.Second); return nil } })
		go func() { _ = e.Start(t.Context()) }()
		time.Sleep(time.Second / 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if won, err := e.TryAcquire(ctx); !won || err != nil {
			t.Errorf("TryAcquire = %v, %v", won, err)
		}
	})
}

// Each of many that ask at once is answered by an attempt made at once.
func TestTryAcquireAsksAreNotForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		leader, e := newElector(t, b, Options{}), newElector(t, b, Options{})
		lead(t, leader)
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 5000 {
			begin := time.Now()
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if won, err := e.TryAcquire(t.Context()); won || err != nil {
						t.Errorf("TryAcquire = %v, %v", won, err)
					}
				})
			}
			all.Wait()
			if d := time.Since(begin); d != 0 {
				t.Fatalf("answered after %v", d)
			}
		}
	})
}

// TryAcquire that finds the elector leading says so, also if it began to lead in
// this very instant.
func TestTryAcquireWhileTheElectorBeginsToLead(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		for range 2000 {
			e := newElector(t, b, Options{})
			go func() { _ = e.Start(t.Context()) }()
			for e.Status().State == StateStopped {
				synctest.Wait()
			}
			if won, err := e.TryAcquire(t.Context()); !won || err != nil {
				t.Fatalf("TryAcquire = %v, %v", won, err)
			}
			if err := e.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestStartWorkOnAnElectorStartedOtherwise(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		work := func(ctx context.Context, _ Term) error { <-ctx.Done(); return nil }
		e := newElector(t, b, Options{})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.StartWork(t.Context(), work); err != ErrRunning {
			t.Errorf("StartWork after Start = %v: the work would never run", err)
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.StartWork(t.Context(), work); err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != ErrRunning {
			t.Errorf("Start after StartWork = %v", err)
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A context that ends during Stop or Close ends the waiting, whatever the store
// does not answer.
func TestStopAndCloseReturnWhenTheirContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b := newFake(t, s)
		hole := make(chan struct{})
		e := newElector(t, b, Options{})
		lead(t, e)
		s.set(func() { s.onResign = func(driver.Term) error { <-hole; return nil } })
		for name, call := range map[string]func(context.Context) error{"Stop": e.Stop, "Close": b.Close} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			begin := time.Now()
			if err := call(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%s = %v", name, err)
			}
			if d := time.Since(begin); d > 4*time.Second {
				t.Errorf("%s took %v", name, d)
			}
			if e.IsLeader() {
				t.Errorf("leads after %s", name)
			}
			cancel()
		}
		close(hole)
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
}

// "For ever" must not wrap round to a negative time.
func TestEndlessDurationsAreRefused(t *testing.T) {
	b := newFake(t, newFakeStore())
	for field, o := range map[string]Options{
		"Options.ElectionInterval":  {ElectionInterval: math.MaxInt64},
		"Options.DrainTimeout":      {DrainTimeout: math.MaxInt64},
		"Options.DrainDelay":        {DrainDelay: math.MaxInt64},
		"Options.LockTimeout":       {LockTimeout: math.MaxInt64},
		"Options.Spread":            {Spread: math.MaxInt64},
		"Options.Margin":            {Margin: math.MaxInt64},
		"Options.HeartbeatInterval": {HeartbeatInterval: math.MaxInt64/5 + 1},
		"Options.HeartbeatTimeout":  {HeartbeatTimeout: math.MaxInt64},
	} {
		o.Group = "g"
		_, err := New(b, o)
		if bad, ok := errors.AsType[*InvalidError](err); !ok || bad.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := New(b, Options{Group: "g", DrainDelay: DefaultDrainTimeout}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a DrainDelay that no drain allows: %v", err)
	}
	e := newElector(t, b, Options{DrainTimeout: maxWait, ElectionInterval: maxWait})
	l := newTestLive(t, b, time.Minute)
	e.drain(l, e.drainLimit(t.Context()))
	if l.drainBy <= b.clock.Now().Mono {
		t.Error("the longest drain is over at once")
	}
}

// Metadata that was sent first may be what is stored, so what was changed since
// rides on a renewal.
func TestMetadataChangedBetweenSendsOfOneNonce(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{Metadata: map[string]string{"v": "1"}})
		lost := true
		s.set(func() {
			s.onAcquireReply = func(driver.AcquireRequest) error {
				if lost {
					lost = false
					if err := e.SetMetadata(map[string]string{"v": "2"}); err != nil {
						t.Error(err)
					}
					return errTransport
				}
				return nil
			}
		})
		lead(t, e)
		time.Sleep(6 * time.Second)
		if rec, _ := e.Leader(t.Context()); rec.Metadata["v"] != "2" {
			t.Errorf("metadata %v", rec.Metadata)
		}
	})
}

// A hedge carries the metadata of the send it hedges: either may execute last.
func TestMetadataOfAHedge(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{Metadata: map[string]string{"v": "1"}})
		slow := true
		s.set(func() {
			s.onRenew = func(r driver.RenewRequest) error {
				s.mu.Lock()
				wait := slow && r.Metadata != nil
				slow = slow && !wait
				s.mu.Unlock()
				if wait {
					time.Sleep(8 * time.Second) // it executes after its hedge
				}
				return nil
			}
		})
		lead(t, e)
		set := func(v string) {
			if err := e.SetMetadata(map[string]string{"v": v}); err != nil {
				t.Error(err)
			}
		}
		set("2")
		time.Sleep(5 * time.Second) // the slow one is under way
		set("3")
		time.Sleep(30 * time.Second)
		if rec, _ := e.Leader(t.Context()); rec.Metadata["v"] != "3" {
			t.Errorf("metadata %v", rec.Metadata)
		}
	})
}
