package multilock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func TestRunLeadsAndHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		b1, b2 := newFake(t, s), newFake(t, s)
		e1, e2 := newElector(t, b1, Options{}), newElector(t, b2, Options{})
		ctx1, cancel1 := context.WithCancelCause(t.Context())
		ended := errors.New("time to go")
		got1, got2 := make(chan error, 1), make(chan error, 1)
		var tokens []uint64
		go func() {
			got1 <- e1.Run(ctx1, func(ctx context.Context, term Term) error {
				tokens = append(tokens, term.Token)
				if !e1.IsLeader() || ctx.Err() != nil {
					t.Error("work runs without leadership")
				}
				<-ctx.Done()
				if e1.IsLeader() {
					t.Error("IsLeader is true after the work was told to end")
				}
				if context.Cause(ctx) != ended {
					t.Errorf("cause = %v", context.Cause(ctx))
				}
				time.Sleep(2 * time.Second) // drains under a live lease
				return nil
			})
		}()
		synctest.Wait()
		go func() {
			got2 <- e2.Run(t.Context(), func(ctx context.Context, term Term) error {
				tokens = append(tokens, term.Token)
				return nil
			})
		}()
		time.Sleep(40 * time.Second)
		if !e1.IsLeader() || e2.IsLeader() {
			t.Fatal("the first elector should lead")
		}
		at := time.Now()
		cancel1(ended)
		if err := <-got1; err != ended {
			t.Errorf("Run of the first = %v", err)
		}
		if err := <-got2; err != nil {
			t.Errorf("Run of the second = %v", err)
		}
		if took := time.Since(at); took != 2*time.Second {
			t.Errorf("handover took %v beyond the drain", took-2*time.Second)
		}
		if len(tokens) != 2 || tokens[1] <= tokens[0] {
			t.Errorf("tokens = %v", tokens)
		}
		if err := b1.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := b2.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// C1: a leader whose renewals fail stops leading by itself, in time.
func TestDefectC1LeaderWithoutRenewalsStepsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeStore()
		s.onRenew = func(r driver.RenewRequest) error { return errTransport }
		b := newFake(t, s)
		e := newElector(t, b, Options{})
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		lost := e.Changes(t.Context(), Lost)
		if _, err := e.WaitForLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		for c := range lost {
			if !errors.Is(c.Cause, ErrExpired) {
				t.Errorf("cause = %v", c.Cause)
			}
			if d := time.Since(begin); d != 14*time.Second {
				t.Errorf("stopped believing after %v, want TTL - margin = 14s", d)
			}
			if now, ok := e.Term(); ok && now.Token == c.Term.Token { // it may have won again
				t.Error("still leader")
			}
			break
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
