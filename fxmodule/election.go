package fxmodule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.uber.org/fx"

	multilock "github.com/multilock/multilock-go/core"
)

// Leadership is what most components want to know of an election.
// *multilock.Elector implements it.
type Leadership interface {
	// IsLeader reports whether this process leads at this very moment.
	IsLeader() bool
	// Term returns the current term with its fencing token, false without one.
	Term() (multilock.Term, bool)
	// Status returns a snapshot.
	Status() multilock.Status
	// Leader asks the store who leads.
	Leader(ctx context.Context) (multilock.Record, error)
}

var _ Leadership = (*multilock.Elector)(nil)

// Work is a function that runs while leading; its context ends with the term.
type Work = func(ctx context.Context, term multilock.Term) error

// Election is an elector and the works that run while it leads. It works without
// fx too: make one with [NewElection], Add works, Start and Stop it.
type Election struct {
	elector *multilock.Elector
	log     *slog.Logger

	mu    sync.Mutex
	works []Work
	hooks int // of the fx lifecycle that hang on this election
	ready int // of those that were started
}

// NewElection returns an election without works. log may be nil.
func NewElection(e *multilock.Elector, log *slog.Logger) *Election {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Election{elector: e, log: log}
}

// Elector returns the elector.
func (x *Election) Elector() *multilock.Elector { return x.elector }

// Add adds a work; it must be called before Start. All works of an election run
// at once, each until it returns. One that returns nil is done for this term. One
// that returns an error ends the term: it is resigned, so that another replica has
// a chance, and the works run again after the next election. A panic resigns and
// ends the program.
func (x *Election) Add(w Work) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.works = append(x.works, w)
}

// Start begins to campaign; see multilock.Elector.Start for what it waits for.
func (x *Election) Start(ctx context.Context) error {
	x.mu.Lock()
	works := x.works
	x.mu.Unlock()
	if len(works) == 0 {
		return x.elector.Start(ctx)
	}
	return x.elector.StartWork(ctx, func(ctx context.Context, term multilock.Term) error {
		return x.perform(ctx, term, works)
	})
}

// Stop ends the campaign and the term in order; see multilock.Elector.Stop.
func (x *Election) Stop(ctx context.Context) error { return x.elector.Stop(ctx) }

// perform runs all works of a term, and keeps leading until the term ends.
func (x *Election) perform(ctx context.Context, term multilock.Term, works []Work) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	panics := make(chan any, len(works))
	for _, w := range works {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil { // raised again in the elector's goroutine, which resigns
					panics <- p
					_ = x.elector.Resign(ctx)
				}
			}()
			err := w(ctx, term)
			if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return
			}
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
			if ctx.Err() == nil {
				x.log.Error("multilock: work failed; resigning", "group", term.Group, "token", term.Token, "error", err)
				_ = x.elector.Resign(ctx) // from inside it only tells and cancels
			}
		})
	}
	all.Wait()
	select {
	case p := <-panics:
		panic(p)
	default:
	}
	<-ctx.Done() // works that are done for this term do not end it
	return failed
}

// hook makes fx start and stop the election. Each WhileLeader appends one after
// what it depends on was built: the last one to start begins the campaign, so that
// everything is up; the first one to stop ends it, so that nothing is down yet.
func (x *Election) hook(lc fx.Lifecycle) {
	if x.elector.Options().ManualStart {
		lc.Append(fx.StopHook(x.Stop))
		return
	}
	x.mu.Lock()
	x.hooks++
	x.mu.Unlock()
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) error {
			x.mu.Lock()
			x.ready++
			last := x.ready == x.hooks
			x.mu.Unlock()
			if !last {
				return nil
			}
			x.warn()
			return x.Start(ctx)
		},
		OnStop: func(ctx context.Context) error {
			x.mu.Lock()
			first := x.ready == x.hooks
			x.ready--
			x.mu.Unlock()
			if !first {
				return nil
			}
			return x.stop(ctx)
		},
	})
}

// stop is Stop for fx: work that has not returned in time is reported, but must
// not keep the hooks of others from running.
func (x *Election) stop(ctx context.Context) error {
	err := x.Stop(ctx)
	if errors.Is(err, multilock.ErrDrainTimeout) {
		x.log.Error("multilock: work did not return within the stop time; its lease is left to expire", "group", x.elector.Group())
	}
	return err
}

// reserve is what a stop needs beside draining.
const reserve = 2 * time.Second

func (x *Election) warn() {
	if d := x.elector.Options().DrainTimeout; d+reserve > fx.DefaultTimeout {
		x.log.Warn(fmt.Sprintf("multilock: DrainTimeout does not fit into fx's default stop timeout of %v; set fx.StopTimeout to more than DrainTimeout and %v", fx.DefaultTimeout, reserve),
			"group", x.elector.Group(), "drain_timeout", d)
	}
}
