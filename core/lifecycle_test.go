package multilock

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func TestRunReturnsWhatWorkReturns(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		boom := errors.New("boom")
		for _, want := range []error{nil, boom} {
			if err := e.Run(t.Context(), func(context.Context, Term) error { return want }); err != want {
				t.Errorf("Run = %v, want %v", err, want)
			}
			if _, err := e.Leader(t.Context()); !errors.Is(err, ErrNoLeader) {
				t.Errorf("not resigned: %v", err)
			}
		}
		if err := e.Run(t.Context(), nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("Run(nil) = %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(boom)
		if err := e.Run(ctx, func(context.Context, Term) error { t.Error("work ran"); return nil }); err != boom {
			t.Errorf("Run with an ended context = %v", err)
		}
	})
}

func TestPanicInWorkResignsAndGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		func() {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = e.Run(t.Context(), func(context.Context, Term) error { panic("boom") })
		}()
		if e.Status().State != StateStopped || s.count("resign") != 1 {
			t.Errorf("state %v, %d resignations", e.Status().State, s.count("resign"))
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = e.Run(t.Context(), func(context.Context, Term) error { runtime.Goexit(); return nil })
		}()
		<-done
		if e.Status().State != StateStopped || s.count("resign") != 2 {
			t.Errorf("after Goexit: state %v, %d resignations", e.Status().State, s.count("resign"))
		}
	})
}

func TestStopResignAndCloseFromInsideTheWork(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, e *Elector) error{
		"Stop":   func(ctx context.Context, e *Elector) error { return e.Stop(ctx) },
		"Resign": func(ctx context.Context, e *Elector) error { return e.Resign(ctx) },
		"Close":  func(ctx context.Context, e *Elector) error { return e.Backend().Close(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
				e := newElector(t, b, Options{})
				runs := 0
				err := e.Run(t.Context(), func(ctx context.Context, _ Term) error {
					if runs++; runs == 2 {
						return nil // after Resign it campaigns again
					}
					type key struct{}
					ctx = context.WithValue(ctx, key{}, 1) // a child will do
					begin := time.Now()
					if err := call(ctx, e); err != nil {
						t.Error(err)
					}
					if time.Since(begin) != 0 || e.IsLeader() || ctx.Err() == nil {
						t.Error("it waited for itself, or did not end the term")
					}
					return nil
				})
				want := map[string]error{"Stop": ErrStopped, "Resign": nil, "Close": ErrClosed}[name]
				if !errors.Is(err, want) {
					t.Errorf("Run = %v, want %v", err, want)
				}
			})
		})
	}
}

func TestStartAndItsSecondCall(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		if err := e.Start(ctx); err != nil {
			t.Fatal(err)
		}
		cancel() // bounds only the start
		if err := e.Start(t.Context()); err != nil {
			t.Errorf("second Start = %v", err)
		}
		if err := e.Run(t.Context(), func(context.Context, Term) error { return nil }); err != ErrRunning {
			t.Errorf("Run on a started elector = %v", err)
		}
		time.Sleep(time.Minute)
		if !e.IsLeader() {
			t.Error("the campaign ended with the context of Start")
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Errorf("second Stop = %v", err)
		}
		if err := e.Resign(t.Context()); err != nil {
			t.Errorf("Resign of a stopped elector = %v", err)
		}
	})
}

func TestStartReportsAMisconfigurationAndWaitsOutAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		denied := errors.New("password refused")
		e := newElector(t, b, Options{})
		s.set(func() {
			s.onAcquire = func(driver.AcquireRequest) error { return driver.Misconfigured(denied, "set another password") }
		})
		err := e.Start(t.Context())
		if !errors.Is(err, ErrMisconfigured) || !errors.Is(err, denied) {
			t.Errorf("Start = %v", err)
		}
		if st := e.Status(); st.State != StateStopped || !errors.Is(st.Err, ErrMisconfigured) {
			t.Errorf("status %+v", st)
		}
		s.set(func() { s.onAcquire = func(driver.AcquireRequest) error { return errTransport } })
		if err := e.Start(t.Context()); err != nil {
			t.Errorf("Start while the store is down = %v", err)
		}
		time.Sleep(10 * time.Minute)
		if n := s.count("acquire"); n > 10*60 {
			t.Errorf("%d attempts in ten minutes of outage", n)
		}
		if !errors.Is(e.Status().Err, errTransport) {
			t.Errorf("status %v", e.Status().Err)
		}
		s.set(func() { s.onAcquire = nil })
		if _, err := e.WaitForLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		seq := e.Changes(t.Context(), Stopped)
		if err := e.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.set(func() {
			s.onAcquire = func(driver.AcquireRequest) error { return driver.Misconfigured(denied, "set another password") }
		})
		for c := range seq { // found later it ends the campaign
			if !errors.Is(c.Cause, ErrMisconfigured) {
				t.Errorf("cause %v", c.Cause)
			}
		}
		s.set(func() { s.onAcquire = nil })
	})
}

func TestDrainDelayAndDeadlineOfStop(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{DrainDelay: 2 * time.Second})
		lead(t, e)
		begin := time.Now()
		if err := e.Stop(t.Context()); err != nil || time.Since(begin) != 2*time.Second {
			t.Errorf("Stop = %v after %v", err, time.Since(begin))
		}
		lead(t, e)
		begin = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // less than the delay
		defer cancel()
		if err := e.Stop(ctx); err != ErrDrainTimeout || time.Since(begin) != 750*time.Millisecond {
			t.Errorf("Stop with a deadline = %v after %v", err, time.Since(begin))
		}
		ended, cancel2 := context.WithCancel(t.Context())
		cancel2()
		time.Sleep(time.Minute)
		lead(t, e)
		begin = time.Now()
		if err := e.Stop(ended); err != nil || time.Since(begin) != 2*time.Second {
			t.Errorf("Stop with an ended context = %v after %v", err, time.Since(begin))
		}
	})
}

func TestMetadataRidesOnTheNextRenewal(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		meta := map[string]string{"version": "1"}
		e := newElector(t, b, Options{Metadata: meta})
		meta["version"] = "changed by the caller"
		term := lead(t, e)
		if rec, _ := e.Leader(t.Context()); rec.Metadata["version"] != "1" {
			t.Errorf("metadata %v", rec.Metadata)
		}
		if err := e.SetMetadata(map[string]string{"version": "2"}); err != nil {
			t.Fatal(err)
		}
		before := s.count("renew")
		time.Sleep(e.Options().HeartbeatInterval + time.Second)
		rec, _ := e.Leader(t.Context())
		if rec.Metadata["version"] != "2" || rec.Token != term.Token || s.count("renew") != before+1 {
			t.Errorf("record %+v after %d renewals", rec, s.count("renew")-before)
		}
		if err := e.SetMetadata(nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(e.Options().HeartbeatInterval + time.Second)
		if rec, _ := e.Leader(t.Context()); len(rec.Metadata) != 0 {
			t.Errorf("metadata %v", rec.Metadata)
		}
		if err := e.SetMetadata(map[string]string{" ": ""}); !errors.Is(err, ErrInvalid) {
			t.Errorf("bad metadata: %v", err)
		}
	})
}

// The takeover after a crash: as soon as the lease has run out, and not before.
func TestTakeoverWithinTheComputedBound(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		crashed := newFake(t, s)
		leader, e := newElector(t, crashed, Options{}), newElector(t, b, Options{})
		lead(t, leader)
		time.Sleep(time.Minute)
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.set(func() { // silence from now on
			s.onRenew = func(driver.RenewRequest) error { return errTransport }
			s.onResign = func(driver.Term) error { return errTransport }
			s.onAcquire = func(r driver.AcquireRequest) error {
				if r.Participant == leader.ParticipantID() {
					return errTransport
				}
				return nil
			}
		})
		begin := time.Now()
		if _, err := e.WaitForLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d > e.WorstCaseFailover() || d < 10*time.Second {
			t.Errorf("takeover after %v, bound %v", d, e.WorstCaseFailover())
		}
		s.set(func() { s.onRenew, s.onResign, s.onAcquire = nil, nil, nil })
		if err := crashed.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFollowersStayWithinTheirBudget(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		lead(t, newElector(t, b, Options{}))
		fb := newFake(t, s)
		e := newElector(t, fb, Options{})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(150 * time.Second)
		// TTL/(TTL - heartbeat) = 1.45 attempts per TTL
		if n := fb.Stats().Acquires; n > 16 {
			t.Errorf("%d attempts in 10 TTLs", n)
		}
		if err := fb.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestStartWork(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		type key struct{}
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
		works := make(chan Term, 10)
		work := func(ctx context.Context, term Term) error {
			if ctx.Value(key{}) != "value" {
				t.Error("the work does not see the values of the context")
			}
			works <- term
			<-ctx.Done()
			return nil
		}
		if err := e.StartWork(ctx, work); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := e.StartWork(t.Context(), work); err != nil {
			t.Errorf("second StartWork = %v", err)
		}
		time.Sleep(time.Minute)
		if err := e.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if len(works) != 2 || !e.IsLeader() {
			t.Errorf("%d works", len(works))
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		s.set(func() {
			s.onAcquire = func(driver.AcquireRequest) error { return driver.Misconfigured(errTransport, "hint") }
		})
		if err := e.StartWork(t.Context(), work); !errors.Is(err, ErrMisconfigured) {
			t.Errorf("StartWork = %v", err)
		}
		if err := e.StartWork(t.Context(), nil); !errors.Is(err, ErrInvalid) {
			t.Errorf("StartWork(nil) = %v", err)
		}
		s.set(func() { s.onAcquire = nil })
	})
}
