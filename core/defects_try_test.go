package multilock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func TestDefectC9AttemptsDoNotSwallowErrors(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		if _, err := New(b, Options{Group: "a/b"}); !errors.Is(err, ErrInvalid) {
			t.Errorf("New with a bad group = %v", err)
		}
		e := newElector(t, b, Options{DrainTimeout: time.Millisecond})
		s.set(func() { s.onAcquire = func(driver.AcquireRequest) error { return errTransport } })
		won, err := e.TryAcquire(t.Context())
		var op *OpError
		if won || !errors.Is(err, errTransport) || !errors.As(err, &op) || op.Op != "acquire" || op.Group != "g" || op.Backend != "fake" {
			t.Errorf("TryAcquire = %v, %v", won, err)
		}
		time.Sleep(time.Second) // settled
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errTransport)
		if _, err := e.TryAcquire(ctx); err != errTransport {
			t.Errorf("TryAcquire with an ended context = %v", err)
		}
		s.set(func() { s.onAcquire = nil })
	})
}

func TestDefectC10TryAcquireWhileLeading(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		term := lead(t, e)
		before := s.count("acquire")
		if won, err := e.TryAcquire(t.Context()); !won || err != nil {
			t.Errorf("TryAcquire = %v, %v", won, err)
		}
		if now, ok := e.Term(); !ok || now != term {
			t.Errorf("term %v, %v", now, ok)
		}
		if s.count("acquire") != before {
			t.Error("it asked the store")
		}
	})
}

func TestDefectC12LostReplyOfAnAcquireIsUndone(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		lost := 0
		s.set(func() { s.onAcquireReply = func(driver.AcquireRequest) error { lost++; return errTransport } })
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		s.set(func() { s.onAcquireReply = nil })
		if err := e.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Leader(t.Context()); !errors.Is(err, ErrNoLeader) {
			t.Errorf("the term that nobody knew of is still live: %v", err)
		}
		if lost == 0 {
			t.Error("no reply was lost")
		}
	})
}
