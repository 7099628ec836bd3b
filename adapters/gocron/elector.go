package gocronlock

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-co-op/gocron/v2"

	multilock "github.com/multilock/multilock-go/core"
)

// ErrNotLeader says that another instance leads, or none does at the moment.
var ErrNotLeader = errors.New("gocronlock: this instance does not lead")

type elector struct{ e *multilock.Elector }

// NewElector makes a gocron.Elector of an elector that the caller starts and stops.
// It does no I/O when asked, so a job is neither delayed nor lost to a slow store.
func NewElector(e *multilock.Elector) gocron.Elector { return elector{e} }

// IsLeader implements gocron.Elector.
func (x elector) IsLeader(context.Context) error {
	if x.e.IsLeader() {
		return nil
	}
	return fmt.Errorf("%w: group %s", ErrNotLeader, x.e.Group())
}

// WhileLeading makes a function for gocron.NewTask that runs task during a term of e:
// its context ends, with the cause, when the term does, and so does the context gocron
// gave. Not leading, it returns ErrNotLeader without running task. Send the token of
// the term with every write that matters.
func WhileLeading(e *multilock.Elector, task func(ctx context.Context, term multilock.Term) error) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		changes := e.Changes(ctx, multilock.Lost) // before the look: nothing is missed in between
		term, ok := e.Term()
		if !ok {
			return fmt.Errorf("%w: group %s", ErrNotLeader, e.Group())
		}
		go func() {
			for c := range changes {
				if c.Term.Token >= term.Token {
					cancel(c.Cause)
					return
				}
			}
			cancel(multilock.ErrStopped)
		}()
		return task(ctx, term)
	}
}
