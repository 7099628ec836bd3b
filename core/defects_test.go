package multilock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// The tests of this file are named after the defects of the .NET original that
// docs/from-dotnet.md lists. C1 is in elector_test.go, C7 belongs to fxmodule, C17
// to package changes.

// bubble runs f in a synctest bubble with a store and a backend on it.
func bubble(t *testing.T, f func(t *testing.T, s *fakeStore, b *Backend)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b := newFake(t, s)
		f(t, s, b)
		if err := b.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		time.Sleep(time.Minute) // calls that are deaf to their context come to an end
	})
}

// lead starts e and waits until it leads.
func lead(t *testing.T, e *Elector) Term {
	t.Helper()
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	term, err := e.WaitForLeadership(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return term
}

func TestDefectC2LockTimeoutIsNotTheLease(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{LockTimeout: 100 * time.Millisecond})
		lead(t, e)
		rec, err := e.Leader(t.Context())
		if err != nil || rec.TTL != DefaultHeartbeatTimeout {
			t.Errorf("record %+v, %v: the lease is not HeartbeatTimeout", rec, err)
		}
		lost := e.Changes(t.Context(), Lost)
		time.Sleep(10 * time.Minute) // defaults must not flap
		if !e.IsLeader() {
			t.Error("lost leadership at default settings")
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		n := 0
		for range lost {
			n++
		}
		if n != 1 {
			t.Errorf("%d losses, want the one of Stop", n)
		}
	})
}

func TestDefectC3RestartAfterStop(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		var token uint64
		for i := range 100 {
			seq := e.Changes(t.Context(), All) // of the next run
			term := lead(t, e)
			if term.Token <= token {
				t.Fatalf("cycle %d: token %d after %d", i, term.Token, token)
			}
			token = term.Token
			time.Sleep(30 * time.Second) // renewed, or it would be over
			if !e.IsLeader() {
				t.Fatalf("cycle %d: not renewed", i)
			}
			if err := e.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			var kinds []Kind
			for c := range seq {
				kinds = append(kinds, c.Kind)
			}
			if fmt.Sprint(kinds) != "[acquired lost stopped]" {
				t.Fatalf("cycle %d: changes %v", i, kinds)
			}
		}
	})
}

func TestDefectC4ReleaseComesLast(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		working := atomic.Bool{}
		s.set(func() {
			s.onResign = func(driver.Term) error {
				if e.IsLeader() || working.Load() {
					t.Error("the resignation left before IsLeader was false and the work had returned")
				}
				return nil
			}
		})
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			done <- e.Run(ctx, func(ctx context.Context, _ Term) error {
				working.Store(true)
				<-ctx.Done()
				time.Sleep(3 * time.Second)
				working.Store(false)
				return nil
			})
		}()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if s.count("resign") != 1 {
			t.Errorf("%d resignations", s.count("resign"))
		}
	})
}

func TestDefectC5StopAlwaysStops(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		lead(t, e)
		s.set(func() { s.onResign = func(driver.Term) error { return errTransport } })
		err := e.Stop(t.Context())
		if !errors.Is(err, errTransport) {
			t.Errorf("Stop = %v, want the resignation's error", err)
		}
		if e.IsLeader() || e.Status().State != StateStopped {
			t.Errorf("state %v after Stop", e.Status().State)
		}
		s.set(func() { s.onResign = nil })
	})
}

func TestDefectC6CloseEndsTerms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b := newFake(t, s)
		e := newElector(t, b, Options{})
		lead(t, e)
		seq := e.Changes(t.Context(), All)
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e.IsLeader() {
			t.Error("leads after Close")
		}
		var kinds []Kind
		for c := range seq {
			kinds = append(kinds, c.Kind)
			if !errors.Is(c.Cause, ErrClosed) {
				t.Errorf("%v: cause %v", c.Kind, c.Cause)
			}
		}
		if fmt.Sprint(kinds) != "[lost stopped]" {
			t.Errorf("changes %v", kinds)
		}
		if fmt.Sprint(s.log[len(s.log)-2:]) != "[resign close]" {
			t.Errorf("the store saw %v", s.log)
		}
		if err := e.Start(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("Start after Close = %v", err)
		}
		if _, err := b.Leader(t.Context(), "g"); !errors.Is(err, ErrClosed) {
			t.Errorf("Leader after Close = %v", err)
		}
	})
}

func TestDefectC8AttemptsAreReported(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		leader, follower := newElector(t, b, Options{}), newElector(t, b, Options{ParticipantID: "second"})
		lead(t, leader)
		time.Sleep(time.Second)
		if err := follower.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		st := follower.Status()
		if st.State != StateFollower || time.Since(st.LastElectionAttempt) != 0 || !st.NextElectionAttempt.After(time.Now()) {
			t.Errorf("status %+v", st)
		}
		if st.Leader.Token == 0 || st.Leader.Participant != leader.ParticipantID() {
			t.Errorf("leader %+v", st.Leader)
		}
	})
}

func TestDefectC11HungCallsBlockNobody(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{DrainTimeout: time.Second})
		lead(t, e)
		release := make(chan struct{})
		s.set(func() { s.onRenew = func(driver.RenewRequest) error { <-release; return nil } }) // deaf to its context
		s.onResign = func(driver.Term) error { <-release; return nil }
		time.Sleep(5 * time.Second)
		if !e.IsLeader() {
			t.Error("one hung renewal cost the leadership")
		}
		begin := time.Now()
		if err := e.Stop(t.Context()); err == nil {
			t.Error("Stop confirmed a resignation that never came back")
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("Stop took %v", d)
		}
		close(release)
	})
}

func TestDefectC13EventsAreNeitherMissedNorNoise(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		leader, follower := newElector(t, b, Options{}), newElector(t, b, Options{})
		var seqs [50][]Kind
		done := make(chan int, len(seqs))
		for i := range seqs {
			seq := follower.Changes(t.Context(), All) // subscribed now, ranged over later
			go func() {
				time.Sleep(time.Duration(i) * time.Minute) // slow ones too
				for c := range seq {
					seqs[i] = append(seqs[i], c.Kind)
				}
				done <- i
			}()
		}
		lead(t, leader)
		if err := follower.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // many failed attempts, and one leader: one change
		if err := leader.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := follower.WaitForLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := follower.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range seqs {
			i := <-done
			if fmt.Sprint(seqs[i]) != "[changed acquired lost stopped]" {
				t.Errorf("subscriber %d saw %v", i, seqs[i])
			}
		}
	})
}

func TestDefectC14WaitForLeadership(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		if _, err := e.WaitForLeadership(t.Context()); err != ErrStopped {
			t.Errorf("on a stopped elector: %v", err)
		}
		other := newElector(t, b, Options{})
		lead(t, other)
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := e.WaitForLeadership(t.Context())
			got <- err
		}()
		time.Sleep(time.Minute)
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != ErrStopped {
			t.Errorf("after Stop: %v", err)
		}
		if err := other.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Leader(t.Context()); !errors.Is(err, ErrNoLeader) {
			t.Errorf("a dead leader is reported: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := e.WaitForLeader(ctx); err != context.DeadlineExceeded {
			t.Errorf("WaitForLeader without a leader: %v", err)
		}
		go func() {
			if err := other.Start(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		if rec, err := e.WaitForLeader(t.Context()); err != nil || rec.Participant != other.ParticipantID() {
			t.Errorf("WaitForLeader = %v, %v", rec, err)
		}
		synctest.Wait()
	})
}

func TestDefectC15StoppedFollowerLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		leader, follower := newElector(t, b, Options{}), newElector(t, b, Options{})
		lead(t, leader)
		if err := follower.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := follower.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := s.count("acquire")
		if err := leader.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if s.count("acquire") != before {
			t.Error("a stopped follower still tries")
		}
		if st := b.Stats(); st.Watched != 0 || st.LiveTerms != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

func TestDefectC16ManyGroupsOnOneBackend(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		var all []*Elector
		for i := range 50 {
			e := newElector(t, b, Options{Group: fmt.Sprintf("g%d", i)})
			lead(t, e)
			all = append(all, e)
		}
		time.Sleep(time.Minute)
		renewals := b.Stats().Renewals
		time.Sleep(10 * time.Minute)
		beats := float64(10*time.Minute) / float64(all[0].Options().HeartbeatInterval)
		if n := float64(b.Stats().Renewals - renewals); n > 1.1*beats {
			t.Errorf("%v renewal requests in %v heartbeats: terms are not renewed together", n, beats)
		}
		for i, e := range all {
			if !e.IsLeader() {
				t.Errorf("group %d lost", i)
			}
		}
		if s.count("close") != 0 {
			t.Error("an elector closed the backend")
		}
	})
}

func TestDefectC18Names(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "A-1_b.c": true, "...": true, "": false, ".": false, "..": false, "a\n": false, "a/b": false,
		"a b": false, "ä": false, "a\x00": false, string(make([]byte, 256)): false,
	} {
		if validName(name) != ok {
			t.Errorf("validName(%q) = %v", name, !ok)
		}
	}
	long := make([]byte, 255)
	for i := range long {
		long[i] = 'x'
	}
	if !validName(string(long)) || validName(string(long)+"x") {
		t.Error("the limit is not 255")
	}
}
