package multilock

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/clock"
)

func TestAlarmRingsInTimeAndIsSetRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &countingClock{Clock: clock.System{}}
		start := c.Now().Mono
		var mu sync.Mutex // its owner's
		var a alarm
		var rang []time.Duration
		ring := func() {
			mu.Lock()
			defer mu.Unlock()
			a.rung()
			rang = append(rang, time.Duration(c.Now().Mono-start))
		}
		at := func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			a.set(c, start+int64(d), ring)
		}
		at(3 * time.Second)
		for i := range 1000 {
			at(3*time.Second + time.Duration(i))
		}
		if c.timers != 1 {
			t.Errorf("the timer was set %d times for what is not due before it rings", c.timers)
		}
		at(time.Second)
		time.Sleep(10 * time.Second)
		at(9 * time.Second) // too late: at once
		synctest.Wait()
		if want := "[1s 10s]"; fmt.Sprint(rang) != want {
			t.Errorf("rang after %v, want %v", rang, want)
		}
	})
}

// countingClock counts how often a timer is set. It is used by one goroutine.
type countingClock struct {
	clock.Clock
	timers int
}

func (c *countingClock) AfterFunc(d time.Duration, f func()) clock.Timer {
	c.timers++
	return &countingTimer{c.Clock.AfterFunc(d, f), c}
}

type countingTimer struct {
	clock.Timer
	c *countingClock
}

func (t *countingTimer) Reset(d time.Duration) bool {
	t.c.timers++
	return t.Timer.Reset(d)
}

// All terms share a timer, and each ends at its own deadline all the same.
func TestTermsEndAtTheirDeadlines(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		s.set(func() { s.onRenew = func(driver.RenewRequest) error { return errTransport } })
		const terms = 20
		ended := make([]time.Duration, terms)
		span := func(i int) time.Duration { return 10*time.Second + time.Duration(i)*333*time.Millisecond }
		for i := range terms {
			ttl := span(i)
			e := newElector(t, b, Options{Group: fmt.Sprint("group-", i), HeartbeatTimeout: ttl})
			begin := time.Now()
			changes := e.Changes(t.Context(), Lost)
			lead(t, e)
			go func() {
				for c := range changes {
					if !errors.Is(c.Cause, ErrExpired) {
						t.Errorf("ended by %v", c.Cause)
					}
					ended[i] = time.Since(begin) + e.o.Margin
					break
				}
			}()
		}
		time.Sleep(30 * time.Second)
		for i, took := range ended {
			if took != span(i) {
				t.Errorf("a term of %v ended %v after it began", span(i), took)
			}
		}
	})
}

// Calls are given up at their limits, each at its own, by one timer.
func TestCallsAreGivenUpAtTheirLimits(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		hole := make(chan struct{})
		defer close(hole)
		begin := time.Now()
		for _, limit := range []time.Duration{5 * time.Second, 2 * time.Second} { // as many as may run at once
			go func() {
				_, err := ask(t.Context(), b, limit, func(context.Context) (int, error) { <-hole; return 0, nil })
				if took := time.Since(begin); err == nil || took != limit {
					t.Errorf("a call with a limit of %v: %v after %v", limit, err, took)
				}
			}()
			synctest.Wait()
		}
		time.Sleep(10 * time.Second)
		if n := b.Stats().Abandoned; n != 2 {
			t.Errorf("%d calls were given up", n)
		}
	})
}

// Thousands of followers that begin at once wait for their turn at the store
// without a goroutine and a stack each beside the caller's.
func TestAttemptsWaitWithoutGoroutines(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		hole := make(chan struct{})
		s.set(func() { s.onAcquire = func(driver.AcquireRequest) error { <-hole; return nil } })
		const electors = 300
		before := runtime.NumGoroutine()
		for i := range electors {
			e := newElector(t, b, Options{Group: fmt.Sprint("group-", i)})
			go func() { _ = e.Run(t.Context(), func(ctx context.Context, _ Term) error { <-ctx.Done(); return nil }) }()
		}
		synctest.Wait()
		if more := runtime.NumGoroutine() - before; more > electors+20 {
			t.Errorf("%d goroutines for %d followers whose attempts wait", more, electors)
		}
		close(hole)
		time.Sleep(time.Second)
		if n := b.Stats().LiveTerms; n != electors {
			t.Errorf("%d of %d lead", n, electors)
		}
	})
}

// A stop gives up the attempt that hangs, and does not wait for its limit.
func TestStopGivesUpTheAttemptUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		hole := make(chan struct{})
		defer close(hole)
		var sent atomic.Int32
		s.set(func() {
			s.onAcquire = func(driver.AcquireRequest) error {
				if sent.Add(1) == 1 {
					<-hole
				}
				return nil
			}
		})
		e := newElector(t, b, Options{LockTimeout: 5 * time.Second})
		ended := make(chan error, 1)
		go func() { ended <- e.Run(t.Context(), func(context.Context, Term) error { return nil }) }()
		time.Sleep(time.Second)
		begin := time.Now()
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, ErrStopped) {
			t.Errorf("Run = %v", err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("stopped after %v", took)
		}
		if _, err := e.Leader(t.Context()); !errors.Is(err, ErrNoLeader) {
			t.Errorf("after the stop: %v", err)
		}
	})
}

// No timer that is set for later keeps a Backend that was closed.
func TestClosedBackendIsCollected(t *testing.T) {
	collected := make(chan struct{})
	func() {
		b := newFake(t, newFakeStore())
		runtime.AddCleanup(b, func(done chan struct{}) { close(done) }, collected)
		e := newElector(t, b, Options{LockTimeout: 10 * time.Minute})
		if _, err := e.Leader(t.Context()); !errors.Is(err, ErrNoLeader) {
			t.Fatal(err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		runtime.GC()
		select {
		case <-collected:
			return
		default:
		}
	}
	t.Error("it is still there")
}
