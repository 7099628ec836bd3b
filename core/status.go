package multilock

import (
	"errors"
	"fmt"
	"time"
)

// State is what an elector is doing.
type State int8

// The states of an elector.
const (
	// StateStopped: it takes no part.
	StateStopped State = iota
	// StateFollower: it campaigns, or waits for the leader to end.
	StateFollower
	// StateLeader: it leads, by Run or Start.
	StateLeader
	// StateDraining: it leads no more, and the work has not returned or the term
	// has not been resigned yet.
	StateDraining
	// StateManual: it leads by TryAcquire alone, and will not campaign again.
	StateManual
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case StateStopped:
		return "stopped"
	case StateFollower:
		return "follower"
	case StateLeader:
		return "leader"
	case StateDraining:
		return "draining"
	case StateManual:
		return "manual"
	}
	return fmt.Sprintf("State(%d)", int8(s))
}

// Status is a snapshot of an elector.
type Status struct {
	State State
	// Term is the own term while State is leader, manual or draining.
	Term Term
	// Left is the time until the own deadline unless a renewal is confirmed.
	Left time.Duration
	// Leader is the leader last seen at the store, possibly this elector, and
	// LeaderSeen when; the zero Record if nobody is known. It may be out of date:
	// Elector.Leader asks the store.
	Leader     Record
	LeaderSeen time.Time
	// LastElectionAttempt and NextElectionAttempt tell when this elector tried, and
	// when it will try at the latest. They are zero if there is none.
	LastElectionAttempt, NextElectionAttempt time.Time
	// Err is the last error of the store or of the configuration; nil after a
	// success.
	Err error
}

// IsLeader reports whether the elector led when the snapshot was taken.
func (s Status) IsLeader() bool { return s.State == StateLeader || s.State == StateManual }

// Status returns a snapshot. It does no I/O.
func (e *Elector) Status() Status {
	leading := e.IsLeader() // ends a term whose deadline has passed
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Status{
		Leader: e.observed, LeaderSeen: e.seenAt, Err: e.lastErr,
		LastElectionAttempt: e.lastTry, NextElectionAttempt: e.nextTry,
	}
	r := e.run
	if r == nil {
		return s
	}
	s.State = StateFollower
	if l := r.term; l != nil {
		s.Term = l.term
		s.Left = l.left()
		switch {
		case !leading || e.current.Load() != l:
			s.State = StateDraining
		case r.manual:
			s.State = StateManual
		default:
			s.State = StateLeader
		}
	}
	if s.State != StateFollower {
		s.NextElectionAttempt = time.Time{}
	}
	return s
}

// working reports whether the work of the current term has not returned.
func (e *Elector) working() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run == nil || e.run.term == nil {
		return false
	}
	select {
	case <-e.run.term.work:
		return false
	default:
		return true
	}
}

// Healthy tells whether the elector does what it should, for readiness checks: a
// follower is healthy even if the store is down, as is a leader that is renewed.
// A leader that has missed a renewal for more than half of its time is not, nor is
// work that runs without a term, nor an elector stopped by a misconfiguration.
func (e *Elector) Healthy() error {
	s := e.Status()
	switch {
	case s.IsLeader() && s.Left < e.o.span(e.b.info)/2:
		return fmt.Errorf("multilock: leader of %s cannot renew: %v left: %w", e.o.Group, s.Left.Round(time.Millisecond), errors.Join(ErrExpired, s.Err))
	case s.State == StateDraining && s.Left == 0 && e.working():
		return fmt.Errorf("multilock: work of %s is running without a term", e.o.Group)
	case s.State == StateStopped && errors.Is(s.Err, ErrMisconfigured):
		return s.Err
	}
	return nil
}
