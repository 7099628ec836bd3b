package multilock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// The tests of this file hold the hazards of docs/hazards.md that core prevents.

func TestHazardBeliefCountsFromTheRequestThatWasAnswered(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		slow := 3 * time.Second
		s.set(func() { s.onAcquireReply = func(driver.AcquireRequest) error { time.Sleep(slow); return nil } })
		begin := time.Now()
		term := lead(t, e)
		if left := e.Status().Left; left != 14*time.Second-slow {
			t.Errorf("%v believed after a reply that took %v", left, slow)
		}
		s.set(func() { s.onRenew = func(driver.RenewRequest) error { return errTransport } })
		for range e.Changes(t.Context(), Lost) {
			break
		}
		if d := time.Since(begin); d != 14*time.Second {
			t.Errorf("believed %v for %v after the request", term, d)
		}
		s.set(func() { s.onRenew, s.onAcquireReply = nil, nil })
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// shortDriver grants less than it is asked for, as a store with sessions may.
type shortDriver struct {
	fakeDriver
	granted time.Duration
}

func (d *shortDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	g, err := d.fakeDriver.Acquire(ctx, req)
	g.Granted = d.granted
	return g, err
}

func (d *shortDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	d.fakeDriver.Renew(ctx, reqs, func(r driver.RenewResult) {
		r.Granted = d.granted
		report(r)
	})
}

func TestHazardStoreGrantsLessThanAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b, err := NewBackend(&shortDriver{fakeDriver{s: s, done: make(chan struct{})}, 4 * time.Second}, driver.Info{Name: "short"})
		if err != nil {
			t.Fatal(err)
		}
		e := newElector(t, b, Options{})
		lead(t, e)
		if left := e.Status().Left; left != 3*time.Second {
			t.Errorf("%v believed of 4s granted", left)
		}
		time.Sleep(time.Minute)
		if _, ok := e.Term(); !ok || s.count("acquire") != 1 {
			t.Error("the heartbeat did not adapt to what is granted")
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHazardSlowAcquireIsRenewedBeforeAnybodyIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{LockTimeout: 20 * time.Second})
		s.set(func() {
			s.onAcquireReply = func(driver.AcquireRequest) error { time.Sleep(11 * time.Second); return nil }
			s.onRenew = func(driver.RenewRequest) error {
				if e.IsLeader() {
					t.Error("announced with less than a heartbeat of belief")
				}
				return nil
			}
		})
		acquired := e.Changes(t.Context(), Acquired)
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range acquired {
			break
		}
		if left := e.Status().Left; left < 13*time.Second {
			t.Errorf("%v left when it was announced", left)
		}
		s.set(func() { s.onRenew = nil })
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHazardAcquireThatComesTooLateIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{LockTimeout: 20 * time.Second})
		var n atomic.Int32
		s.set(func() {
			s.onAcquireReply = func(driver.AcquireRequest) error {
				if n.Add(1) == 1 {
					time.Sleep(14 * time.Second) // nothing is left of the belief
				}
				return nil
			}
		})
		acquired := e.Changes(t.Context(), Acquired)
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for c := range acquired {
			if c.Term.Token != 2 {
				t.Errorf("announced %v, which was over when its reply came", c.Term)
			}
			break
		}
		if s.count("resign") != 1 {
			t.Errorf("%d resignations of the term that came too late", s.count("resign"))
		}
	})
}

// nonces records the life of nonces as the store sees it.
type nonces struct {
	mu       sync.Mutex
	acquires []driver.Nonce
	resigned map[driver.Nonce]bool
	bad      []string
}

func TestHazardLifeOfANonce(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		n := &nonces{resigned: map[driver.Nonce]bool{}}
		certain := map[driver.Nonce]bool{}
		var step atomic.Int32
		s.set(func() {
			s.onAcquire = func(r driver.AcquireRequest) error {
				n.mu.Lock()
				defer n.mu.Unlock()
				if n.resigned[r.Nonce] || certain[r.Nonce] {
					n.bad = append(n.bad, fmt.Sprintf("nonce sent again after its resignation or a certain answer, at step %d", step.Load()))
				}
				n.acquires = append(n.acquires, r.Nonce)
				switch step.Add(1) {
				case 1, 2, 3:
					return errTransport // uncertain: the same one again
				case 4:
					return driver.ErrNotApplied // says nothing about the sends before
				case 5:
					certain[r.Nonce] = true
					return &driver.HeldError{Record: driver.Record{Remaining: time.Millisecond}} // certain: another one
				}
				return nil
			}
			s.onResign = func(x driver.Term) error {
				n.mu.Lock()
				defer n.mu.Unlock()
				n.resigned[x.Nonce] = true
				return nil
			}
		})
		e := newElector(t, b, Options{})
		lead(t, e)
		if err := e.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // leads again, as another term
		if !e.IsLeader() {
			t.Error("does not campaign after Resign")
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		a := n.acquires
		if len(n.bad) > 0 {
			t.Error(n.bad)
		}
		if len(a) != 7 || a[0] != a[1] || a[1] != a[2] || a[2] != a[3] || a[3] != a[4] || a[4] == a[5] || a[5] == a[6] {
			t.Errorf("nonces of the attempts: %v", a)
		}
	})
}

func TestHazardLateReplyRevivesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		s.set(func() {
			s.onRenewReply = func(driver.RenewRequest) error { time.Sleep(15 * time.Second); return nil }
			s.onAcquire = nil
		})
		lost := e.Changes(t.Context(), Lost|Acquired)
		term := lead(t, e)
		s.set(func() { s.onAcquire = func(driver.AcquireRequest) error { return errTransport } })
		time.Sleep(16 * time.Second) // the deadline has passed at 14 s, the reply came at 19.7 s
		if _, ok := e.Term(); ok {
			t.Error("believed beyond the deadline")
		}
		time.Sleep(10 * time.Second)
		if _, ok := e.Term(); ok {
			t.Error("a late reply brought the term back")
		}
		var got []Kind
		for c := range lost {
			if got = append(got, c.Kind); c.Term != term || len(got) == 2 {
				break
			}
		}
		if fmt.Sprint(got) != "[acquired lost]" {
			t.Errorf("changes %v", got)
		}
		s.set(func() { s.onRenewReply, s.onAcquire = nil, nil })
	})
}

func TestHazardLateLossOfAnEarlierTermTouchesNoOther(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		var first atomic.Pointer[driver.Nonce]
		s.set(func() {
			s.onRenew = func(r driver.RenewRequest) error {
				if first.CompareAndSwap(nil, &r.Term.Nonce) {
					time.Sleep(10 * time.Second) // its answer will be ErrLost
				}
				return nil
			}
		})
		old := lead(t, e)
		time.Sleep(5 * time.Second) // the renewal is under way
		if err := e.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		next, err := e.WaitForLeadership(t.Context())
		if err != nil || next.Token <= old.Token {
			t.Fatal(next, err)
		}
		time.Sleep(time.Minute)
		if now, ok := e.Term(); !ok || now != next {
			t.Errorf("term %v was ended by an answer for %v", next, old)
		}
		b.watch.Lost("g", old.Nonce)
		if !e.IsLeader() {
			t.Error("a push about an earlier term ended this one")
		}
		b.watch.Lost("g", next.Nonce)
		if e.IsLeader() {
			t.Error("a push about this term did not end it")
		}
	})
}

func TestHazardOneBlackHoleCostsNoLeadership(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		var n atomic.Int32
		hole := make(chan struct{})
		s.set(func() {
			s.onRenew = func(driver.RenewRequest) error {
				if n.Add(1)%2 == 1 {
					<-hole // every other connection swallows what it is sent
				}
				return nil
			}
		})
		term := lead(t, e)
		time.Sleep(40 * time.Second) // until the workers that may be replaced are used up
		if now, ok := e.Term(); !ok || now != term {
			t.Error("leadership was lost to one black hole")
		}
		if b.Stats().Hedges == 0 {
			t.Error("nothing was hedged")
		}
		close(hole)
	})
}

func TestHazardLatencyBelowTheDeadlineCostsNoLeadership(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{LockTimeout: 10 * time.Second})
		wait := func() { time.Sleep(2800 * time.Millisecond) } // twice is 0.4 x (TTL - margin)
		s.set(func() {
			s.onRenew = func(driver.RenewRequest) error { wait(); return nil }
			s.onRenewReply = func(driver.RenewRequest) error { wait(); return nil }
		})
		term := lead(t, e)
		time.Sleep(10 * time.Minute)
		if now, ok := e.Term(); !ok || now != term {
			t.Error("leadership was lost to latency")
		}
		s.set(func() { s.onRenew, s.onRenewReply = nil, nil })
	})
}

// blockedHandler never returns from Handle.
type blockedHandler struct{ release chan struct{} }

func (h blockedHandler) Enabled(context.Context, slog.Level) bool  { return true }
func (h blockedHandler) Handle(context.Context, slog.Record) error { <-h.release; return nil }
func (h blockedHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h blockedHandler) WithGroup(string) slog.Handler             { return h }
func (h blockedHandler) Observe(Observation)                       { <-h.release }

func TestHazardBlockedLoggerObserverAndSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b := newFake(t, s)
		h := blockedHandler{make(chan struct{})}
		e := newElector(t, b, Options{Logger: slog.New(h), Observer: h})
		_ = e.Changes(t.Context(), All) // never ranged over
		term := lead(t, e)
		time.Sleep(10 * time.Minute)
		if now, ok := e.Term(); !ok || now != term {
			t.Error("leadership was lost to a blocked receiver")
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		close(h.release)
		synctest.Wait()
	})
}

func TestHazardLateGrantNobodyWantsIsResigned(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{LockTimeout: time.Second, DrainTimeout: time.Millisecond})
		s.set(func() {
			s.onAcquire = func(driver.AcquireRequest) error { time.Sleep(5 * time.Second); return nil } // deaf
		})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = e.Stop(t.Context()) // cannot be settled within the drain limit
		time.Sleep(30 * time.Second)
		s.set(func() { s.onAcquire = nil })
		if _, err := e.Leader(t.Context()); !errors.Is(err, ErrNoLeader) {
			t.Errorf("a term that nobody wants is live: %v", err)
		}
		if s.count("resign") == 0 {
			t.Error("no late grant was resigned")
		}
	})
}
