package clientgolock

import (
	"context"
	"errors"
	"fmt"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// Guard makes an OnStartedLeading callback of work, and makes ReleaseOnCancel safe:
// before the lease is released the context of work is cancelled, and work has returned.
// If it does not return within RenewDeadline the lease is left to expire. The context
// also ends, with a cause, as soon as the store says that the term is lost. work is not
// called if the term ended before client-go got round to it.
func (l *Lock) Guard(work func(ctx context.Context, term multilock.Term)) func(ctx context.Context) {
	l.mu.Lock()
	l.guarded = true
	l.mu.Unlock()
	return func(ctx context.Context) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		l.mu.Lock()
		if l.releasing || !l.leads() {
			l.mu.Unlock()
			return
		}
		if len(l.works) == 0 {
			l.works, l.idle = make(map[*context.CancelCauseFunc]struct{}), make(chan struct{})
		}
		l.works[&cancel] = struct{}{}
		term := l.term
		l.mu.Unlock()
		defer func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if delete(l.works, &cancel); len(l.works) == 0 {
				close(l.idle)
			}
		}()
		work(ctx, term)
	}
}

// release resigns after the work, or refuses to.
func (l *Lock) release(ctx context.Context) error {
	l.mu.Lock()
	term := l.term
	if term.Nonce.IsZero() {
		l.mu.Unlock()
		return nil
	}
	if !l.guarded && !l.o.ReleaseAfterWork {
		l.mu.Unlock()
		return ErrRelease
	}
	l.releasing = true
	l.end(multilock.ErrStopped)
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrRelease, context.Cause(ctx))
	}
	_, err := ask(ctx, l.o.RenewDeadline, func(ctx context.Context) (driver.Nonce, error) {
		return term.Nonce, l.b.Driver().Resign(ctx, term)
	})
	l.mu.Lock()
	l.told = l.told.Add(-l.need) // nothing believes in it any more
	l.mu.Unlock()
	if errors.Is(err, multilock.ErrLost) {
		return nil
	}
	return l.wrap("resign", err)
}
