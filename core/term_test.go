package multilock

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/clock"
)

// newTestLive begins a term as an attempt that was just granted would.
func newTestLive(t *testing.T, b *Backend, granted time.Duration) *live {
	t.Helper()
	e := newElector(t, b, Options{})
	r, err := e.begin(&run{ctx: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	l := newLive(r, Term{Group: "g", Token: 1, Nonce: driver.NewNonce()}, driver.Grant{Granted: granted}, readInstant(b.clock))
	e.mu.Lock()
	l.candidate = &candidate{nonce: l.term.Nonce, state: candidateLive}
	e.mu.Unlock()
	return l
}

// Whoever finds a term over finds its context ended, in whatever instant of the
// ending: IsLeader and the context's Err never contradict each other.
func TestHazardContextIsOverWhenTheBeliefIs(t *testing.T) {
	b := newFake(t, newFakeStore())
	l := newTestLive(t, b, time.Minute)
	if !l.e.announce(l) {
		t.Fatal("not announced")
	}
	cancel := l.cancel
	l.cancel = func(cause error) { // the goroutine that ends it is preempted here
		time.Sleep(20 * time.Millisecond)
		cancel(cause)
	}
	go l.end(ErrLost)
	for l.e.IsLeader() {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(5 * time.Millisecond)
	if l.ctx.Err() == nil {
		t.Error("the context of a term that is over was alive")
	}
}

// The newest answer counts, also if it allows less than an older one did.
func TestHazardNewestAnswerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake(t, newFakeStore())
		l := newTestLive(t, b, 15*time.Second)
		old := readInstant(b.clock)
		time.Sleep(time.Second)
		if !l.extend(readInstant(b.clock), 6*time.Second) || l.left() != 5*time.Second {
			t.Errorf("%v left after a newer answer that granted 6s", l.left())
		}
		if !l.extend(old, 15*time.Second) || l.left() != 5*time.Second {
			t.Errorf("%v left after an older answer that came late", l.left())
		}
		l.end(ErrLost)
		if lease := l.believed.Load().lease; lease != l.e.b.clock.Now().Mono+int64(6*time.Second) {
			t.Errorf("the store lets go at %v", lease)
		}
	})
}

// A term that is over before it is renewed for the first time is not renewed at
// all: nothing would ever take it out of the renewer again.
func TestTermThatIsOverIsNotRenewed(t *testing.T) {
	b := newFake(t, newFakeStore())
	l := newTestLive(t, b, 15*time.Second)
	l.end(ErrExpired)
	b.renewer.add(l, 0)
	if n := b.Stats().LiveTerms; n != 0 {
		t.Errorf("%d terms are renewed", n)
	}
}

// A resignation under a work that is still running would hand the lease over: a
// reply to an early send of the nonce must not cause it after the term ended.
func TestHazardLateReplyDoesNotResignUnderRunningWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b := newFake(t, s)
		first := true
		s.set(func() {
			s.onAcquireReply = func(driver.AcquireRequest) error {
				s.mu.Lock()
				slow := first
				first = false
				s.mu.Unlock()
				if slow {
					time.Sleep(40 * time.Second)
				}
				return nil
			}
		})
		e := newElector(t, b, Options{})
		release := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- e.Run(t.Context(), func(_ context.Context, _ Term) error { <-release; return nil })
		}()
		if _, err := e.WaitForLeadership(t.Context()); !errors.Is(err, ErrStopped) && err != nil {
			t.Fatal(err)
		}
		time.Sleep(15 * time.Second)
		if err := e.Stop(t.Context()); err != ErrDrainTimeout {
			t.Errorf("Stop = %v", err)
		}
		time.Sleep(time.Minute) // the reply to the first send came meanwhile
		if n := s.count("resign"); n != 0 {
			t.Errorf("%d resignations under a running work", n)
		}
		close(release)
		<-done
		if n := s.count("resign"); n != 1 {
			t.Errorf("%d resignations after the work returned", n)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// steppedClock lets a test move the wall and boot clock on, as a suspend does.
type steppedClock struct {
	clock.System
	slept *atomic.Int64
}

func (c steppedClock) Now() clock.Reading {
	r := c.System.Now()
	r.Wall += c.slept.Load()
	return r
}

func (c steppedClock) Boot() (int64, bool) { return c.Now().Wall, true }

// After a suspend the next renewal is due by the clock that went on.
func TestRenewalIsDueAfterSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b := newFake(t, s)
		var slept atomic.Int64
		b.clock = steppedClock{slept: &slept}
		e := newElector(t, b, Options{HeartbeatTimeout: 15 * time.Second})
		lead(t, e)
		synctest.Wait()
		slept.Store(int64(12 * time.Second)) // of the 14 it believes
		time.Sleep(1500 * time.Millisecond)
		if !e.IsLeader() || s.count("renew") != 1 {
			t.Errorf("leads: %v, after %d renewals", e.IsLeader(), s.count("renew"))
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
