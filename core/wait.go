package multilock

import (
	"context"
	"errors"
	"time"
)

// WaitForLeadership returns as soon as this elector leads, with a term that was
// valid when it returned. The error is ErrStopped if the elector is, or becomes,
// stopped, or context.Cause(ctx).
func (e *Elector) WaitForLeadership(ctx context.Context) (Term, error) {
	changes := e.Changes(ctx, Acquired) // before the look: nothing is missed in between
	if t, ok := e.Term(); ok {
		return t, nil
	}
	e.mu.Lock()
	stopped := e.run == nil || e.run.stopCause != nil
	e.mu.Unlock()
	if stopped {
		return Term{}, ErrStopped
	}
	for range changes {
		if t, ok := e.Term(); ok {
			return t, nil
		}
	}
	if ctx.Err() != nil {
		return Term{}, context.Cause(ctx)
	}
	return Term{}, ErrStopped
}

// WaitForLeader returns as soon as anybody leads the group, with the leader's
// record as the store has it. It works on a stopped elector too. Errors of the
// store are waited out, except a misconfiguration; the error is else
// context.Cause(ctx), or ErrClosed.
func (e *Elector) WaitForLeader(ctx context.Context) (Record, error) {
	for delay := 10 * time.Millisecond; ; delay = min(2*delay, time.Second, e.o.ElectionInterval) {
		next, cancel := context.WithCancel(ctx)
		changes := e.Changes(next, Acquired|Changed)
		rec, err := e.Leader(ctx)
		if err == nil || errors.Is(err, ErrMisconfigured) || errors.Is(err, ErrClosed) {
			cancel()
			return rec, err
		}
		if ctx.Err() != nil {
			cancel()
			return Record{}, context.Cause(ctx)
		}
		t := e.b.clock.AfterFunc(delay, cancel)
		for range changes {
			break
		}
		t.Stop()
		cancel()
	}
}
