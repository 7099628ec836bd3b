package multilock

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHazardWorkThatIgnoresItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		running, works := atomic.Int32{}, atomic.Int32{}
		seq := e.Changes(t.Context(), All)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- e.Run(ctx, func(ctx context.Context, _ Term) error {
				if running.Add(1) > 1 {
					t.Error("a second work runs beside the first")
				}
				defer running.Add(-1)
				if works.Add(1) == 1 {
					time.Sleep(5 * time.Minute) // deaf
					if ctx.Err() == nil {
						t.Error("the context of a lost term is alive")
					}
					return errors.New("deaf work")
				}
				<-ctx.Done()
				return nil
			})
		}()
		synctest.Wait()
		s.drop("g") // an operator removes the record: renewals say ErrLost
		time.Sleep(time.Minute)
		if st := e.Status(); st.State != StateDraining || e.IsLeader() {
			t.Errorf("state %v", st.State)
		}
		if err := e.Healthy(); err == nil {
			t.Error("healthy while work runs without a term")
		}
		time.Sleep(5 * time.Minute)
		if works.Load() != 2 || !e.IsLeader() {
			t.Errorf("%d works; Run does not campaign again", works.Load())
		}
		cancel()
		if err := <-done; err != context.Canceled {
			t.Error(err)
		}
		var got []Kind
		carried := false
		for c := range seq {
			got = append(got, c.Kind)
			carried = carried || c.Cause != nil && errors.Unwrap(c.Cause) == nil && c.Kind == Lost && len(got) > 3
		}
		if fmt.Sprint(got) != "[acquired lost overrun acquired lost stopped]" {
			t.Errorf("changes %v", got)
		}
		if !carried {
			t.Error("the error of the work that outlived its term was carried by no change")
		}
	})
}

func TestHazardLossWhileDraining(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		seq := e.Changes(t.Context(), All)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- e.Run(ctx, func(ctx context.Context, _ Term) error {
				<-ctx.Done()
				time.Sleep(8 * time.Second)
				return nil
			})
		}()
		synctest.Wait()
		cancel()
		time.Sleep(time.Second)
		s.drop("g")
		<-done
		var got []Kind
		for c := range seq {
			got = append(got, c.Kind)
		}
		if fmt.Sprint(got) != "[acquired lost overrun stopped]" {
			t.Errorf("changes %v", got)
		}
	})
}

func TestHazardDrainLimitLeavesTheLeaseToExpire(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e, next := newElector(t, b, Options{}), newElector(t, b, Options{})
		release := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- e.Run(t.Context(), func(ctx context.Context, _ Term) error {
				<-release
				return nil
			})
		}()
		synctest.Wait()
		if err := next.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := e.Stop(t.Context()); err != ErrDrainTimeout {
			t.Errorf("Stop = %v", err)
		}
		if d := time.Since(begin); d != DefaultDrainTimeout {
			t.Errorf("Stop took %v", d)
		}
		if next.IsLeader() {
			t.Error("the lease was handed over under a running work")
		}
		if s.count("resign") != 0 {
			t.Error("resigned under a running work")
		}
		if _, err := next.WaitForLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begin); d < 20*time.Second {
			t.Errorf("taken after %v: the lease did not run out", d)
		}
		if err := e.Run(t.Context(), func(context.Context, Term) error { return nil }); err != ErrRunning {
			t.Errorf("Run beside work that has not returned = %v", err)
		}
		close(release)
		if err := <-done; err != ErrStopped {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestHazardCloseWaitsForWorkOrItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b := newFake(t, s)
		e := newElector(t, b, Options{})
		release := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- e.Run(t.Context(), func(ctx context.Context, _ Term) error {
				<-ctx.Done()
				if e.IsLeader() {
					t.Error("leads while it is closed")
				}
				<-release
				return nil
			})
		}()
		synctest.Wait()
		if err := b.Close(t.Context()); err != ErrDrainTimeout {
			t.Errorf("Close = %v", err)
		}
		if s.count("close") != 0 {
			t.Error("the driver was closed under a live lease and running work")
		}
		time.Sleep(DefaultHeartbeatTimeout)
		synctest.Wait()
		if s.count("close") != 1 {
			t.Error("the driver was not closed after the lease had expired")
		}
		close(release)
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestHazardResignIsNotWonBackAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		lead(t, e)
		acquired := e.Changes(t.Context(), Acquired)
		begin := time.Now()
		if err := e.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range acquired {
			break
		}
		if d := time.Since(begin); d < time.Second {
			t.Errorf("won back after %v", d)
		}
		if err := e.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin = time.Now()
		if won, err := e.TryAcquire(t.Context()); !won || err != nil || time.Since(begin) != 0 {
			t.Errorf("TryAcquire does not override abstention: %v, %v", won, err)
		}
	})
}
