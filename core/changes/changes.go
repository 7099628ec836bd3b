// Package changes has helpers for the sequences that Elector.Changes returns, and
// for any other iter.Seq. They compose:
//
//	seq := e.Changes(ctx, multilock.All)
//	for c := range changes.Take(changes.Where(seq, multilock.Change.BecameLeader), 1) { ... }
//
// All but Chan, Debounce and BufferTime are plain loops in the caller's goroutine.
// Those three need a goroutine of their own, since one cannot wait for a sequence
// and a timer at once; it ends when the source ends. So after breaking out of such
// a sequence, end the context that was given to Elector.Changes.
//
// A sequence made by Elector.Changes is a cursor: ranging again goes on where the
// last loop ended. The helpers keep that, except where they say that they hold
// elements back.
//
// Functions that take a count or a duration panic if it is negative (a duration
// also if it is zero), and those that take a function panic if it is nil: both are
// mistakes of the program, not of its input.
package changes

import (
	"context"
	"errors"
	"iter"
	"time"

	multilock "github.com/multilock/multilock-go/core"
)

func need(ok bool, what string) {
	if !ok {
		panic("changes: " + what)
	}
}

// Where yields the elements for which keep returns true.
func Where[T any](seq iter.Seq[T], keep func(T) bool) iter.Seq[T] {
	need(seq != nil && keep != nil, "Where: nil sequence or function")
	return func(yield func(T) bool) {
		for v := range seq {
			if keep(v) && !yield(v) {
				return
			}
		}
	}
}

// Select yields f of every element.
func Select[T, R any](seq iter.Seq[T], f func(T) R) iter.Seq[R] {
	need(seq != nil && f != nil, "Select: nil sequence or function")
	return func(yield func(R) bool) {
		for v := range seq {
			if !yield(f(v)) {
				return
			}
		}
	}
}

// Take yields the first n elements. It ends right after the n-th, without waiting
// for a further one.
func Take[T any](seq iter.Seq[T], n int) iter.Seq[T] {
	need(seq != nil, "Take: nil sequence")
	need(n >= 0, "Take: negative count")
	return func(yield func(T) bool) {
		if n == 0 {
			return
		}
		i := 0
		for v := range seq {
			i++
			if !yield(v) || i == n {
				return
			}
		}
	}
}

// Skip yields all but the first n elements.
func Skip[T any](seq iter.Seq[T], n int) iter.Seq[T] {
	need(seq != nil, "Skip: nil sequence")
	need(n >= 0, "Skip: negative count")
	return func(yield func(T) bool) {
		i := 0
		for v := range seq {
			if i++; i > n && !yield(v) {
				return
			}
		}
	}
}

// DistinctUntilChanged yields the elements that differ from the one before, by
// equal. For changes, [SameTransition] compares what they say rather than when.
func DistinctUntilChanged[T any](seq iter.Seq[T], equal func(a, b T) bool) iter.Seq[T] {
	need(seq != nil && equal != nil, "DistinctUntilChanged: nil sequence or function")
	return func(yield func(T) bool) {
		var last T
		first := true
		for v := range seq {
			if !first && equal(last, v) {
				continue
			}
			last, first = v, false
			if !yield(v) {
				return
			}
		}
	}
}

// SameTransition reports whether two changes say the same: kind, term and leader.
func SameTransition(a, b multilock.Change) bool {
	return a.Kind == b.Kind && a.Term == b.Term && a.Leader.Term == b.Leader.Term
}

// ForEach calls f with every element until the sequence ends.
func ForEach[T any](seq iter.Seq[T], f func(T)) {
	need(seq != nil && f != nil, "ForEach: nil sequence or function")
	for v := range seq {
		f(v)
	}
}

// ForEachErr calls f with every element, one after the other, until the sequence
// or ctx ends or f returns an error. It returns that error, or context.Cause(ctx)
// if ctx has ended. It takes the place of the original's asynchronous ForEach.
func ForEachErr[T any](ctx context.Context, seq iter.Seq[T], f func(context.Context, T) error) error {
	need(seq != nil && f != nil, "ForEachErr: nil sequence or function")
	for v := range seq {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := f(ctx, v); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// Buffer yields slices of n elements, and at the end one of those left over. It
// holds elements back until a slice is full.
func Buffer[T any](seq iter.Seq[T], n int) iter.Seq[[]T] {
	need(seq != nil, "Buffer: nil sequence")
	need(n > 0, "Buffer: count must be positive")
	return func(yield func([]T) bool) {
		var buf []T
		for v := range seq {
			if buf = append(buf, v); len(buf) == n {
				if !yield(buf) {
					return
				}
				buf = nil
			}
		}
		if len(buf) > 0 {
			yield(buf)
		}
	}
}

// Throttle yields an element at once and then drops all that follow within d.
func Throttle[T any](seq iter.Seq[T], d time.Duration) iter.Seq[T] {
	need(seq != nil, "Throttle: nil sequence")
	need(d > 0, "Throttle: duration must be positive")
	return func(yield func(T) bool) {
		var last time.Time
		for v := range seq {
			now := time.Now()
			if !last.IsZero() && now.Sub(last) < d {
				continue
			}
			last = now
			if !yield(v) {
				return
			}
		}
	}
}

// TakeUntilLeader yields changes up to and including the first by which this
// elector leads.
func TakeUntilLeader(seq iter.Seq[multilock.Change]) iter.Seq[multilock.Change] {
	need(seq != nil, "TakeUntilLeader: nil sequence")
	return func(yield func(multilock.Change) bool) {
		for c := range seq {
			if !yield(c) || c.BecameLeader() {
				return
			}
		}
	}
}

// WhileLeader yields changes for as long as this elector leads: it ends before the
// change by which it ceases to. Unlike the original it does not depend on having
// seen the beginning: e tells whether the elector leads when the loop starts, and
// if it does not, the sequence begins with its next term.
func WhileLeader(e *multilock.Elector, seq iter.Seq[multilock.Change]) iter.Seq[multilock.Change] {
	need(e != nil && seq != nil, "WhileLeader: nil elector or sequence")
	return func(yield func(multilock.Change) bool) {
		now, leading := e.Term()
		for c := range seq {
			switch {
			case c.Kind == multilock.Lost && leading && c.Term.Token < now.Token:
				continue // of a term before the one the loop started in
			case c.Kind == multilock.Lost || c.Kind == multilock.Stopped:
				if leading || c.Kind == multilock.Stopped {
					return
				}
				continue
			case c.BecameLeader():
				leading, now = true, c.Term
			}
			if leading && !yield(c) {
				return
			}
		}
	}
}

// OnLeadershipTransition calls acquired and lost, either of which may be nil, with
// the changes by which this elector begins and ceases to lead, until the sequence
// ends.
func OnLeadershipTransition(seq iter.Seq[multilock.Change], acquired, lost func(multilock.Change)) {
	_ = OnLeadershipTransitionErr(context.Background(), seq, noError(acquired), noError(lost))
}

func noError(f func(multilock.Change)) func(context.Context, multilock.Change) error {
	if f == nil {
		return nil
	}
	return func(_ context.Context, c multilock.Change) error {
		f(c)
		return nil
	}
}

// OnLeadershipTransitionErr is OnLeadershipTransition with functions that may fail,
// which ends it with their error; see ForEachErr. It takes the place of the
// original's asynchronous form.
func OnLeadershipTransitionErr(ctx context.Context, seq iter.Seq[multilock.Change], acquired, lost func(context.Context, multilock.Change) error) error {
	need(acquired != nil || lost != nil, "OnLeadershipTransition: both functions are nil")
	return ForEachErr(ctx, seq, func(ctx context.Context, c multilock.Change) error {
		switch {
		case c.BecameLeader() && acquired != nil:
			return acquired(ctx, c)
		case c.LostLeadership() && lost != nil:
			return lost(ctx, c)
		}
		return nil
	})
}

var errPumpExit = errors.New("changes: the source ended its goroutine")
