package consul

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// Resign implements driver.Driver. The key is released before anything happens
// to the session, so that no lock-delay applies. What cannot be released now is
// tried again in the background.
func (s *store) Resign(ctx context.Context, t driver.Term) error {
	if s.isClosed() {
		return driver.ErrClosed
	}
	ctx, cancel := s.bind(ctx)
	defer cancel()
	s.mu.Lock()
	c := s.find(t.Group, t.Nonce)
	if c != nil {
		c.over, c.resigned = true, true // final, whatever the reply
	}
	s.mu.Unlock()
	err := s.resign(ctx, t, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c == nil || c.busy:
	case (err == nil || errors.Is(err, driver.ErrLost)) && !c.uncertain && c.sends == 0:
		s.drop(c)
	default:
		c.expires = time.Now()
		if err != nil { // whoever resigns may try again first
			c.expires = c.expires.Add(500 * time.Millisecond)
		}
		s.settleSoon()
	}
	return err
}

// resign releases the key at once if the term is known: nobody has written to a
// record whose index has not moved. Otherwise the key is read first.
func (s *store) resign(ctx context.Context, t driver.Term, c *claim) error {
	after := record{Ended: t.Nonce.String()}
	var index uint64
	if c != nil {
		s.mu.Lock()
		index = c.index
		s.mu.Unlock()
	}
	if index != 0 {
		err := s.release(ctx, t.Group, c.sess.id, index, after)
		if !errors.Is(err, errConflict) {
			return err
		}
	}
	for range rounds {
		p, err := s.read(ctx, t.Group)
		if err != nil {
			return err
		}
		if !locked(p) || decode(p).Nonce != t.Nonce.String() {
			return driver.ErrLost
		}
		err = s.release(ctx, t.Group, p.Session, p.ModifyIndex, after)
		if !errors.Is(err, errConflict) {
			return err
		}
	}
	return errConflict
}

// release frees the key of a group if session still has it locked and nobody has
// written to it since index, leaves after in it, and rings for those who follow
// the group without a watch of its own.
//
// A doorbell that nobody has hung is not rung: it would be a second key to write in
// every handover. Whoever listens hangs it first and looks at its groups then, so
// that a resignation is either seen by that look or finds the doorbell.
//
// The doorbell is locked and unlocked, which makes the server count the rings: a
// listener that finds one more than before has missed none.
func (s *store) release(ctx context.Context, group, session string, index uint64, after record) error {
	n := bellOf(group)
	key, bell := s.key(group), s.bellKey(n)
	value, rung := after.encode(), ring{Group: group}.encode()
	release := []*api.KVTxnOp{
		{Verb: api.KVCheckIndex, Key: key, Index: index},
		{Verb: api.KVUnlock, Key: key, Session: session, Value: value, Flags: recordFlags},
	}
	send := func(more ...*api.KVTxnOp) (*outcome, error) {
		return s.apply(ctx, append(slices.Clone(release), more...))
	}
	bellOnly := func(out *outcome) bool { // all that failed was about the doorbell
		return len(out.Errors) > 0 && !slices.ContainsFunc(out.Errors, func(e *api.TxnError) bool { return e.OpIndex < len(release) })
	}
	var out *outcome
	var err error
	hung := s.hung[n].Load()
	if !hung {
		out, err = send(&api.KVTxnOp{Verb: api.KVCheckNotExists, Key: bell})
		if hung = err == nil && bellOnly(out); hung {
			s.hung[n].Store(true) // and stays so: if somebody deletes it, the next ring makes it again
		}
	}
	if hung {
		out, err = send(
			&api.KVTxnOp{Verb: api.KVLock, Key: bell, Session: session},
			&api.KVTxnOp{Verb: api.KVUnlock, Key: bell, Session: session, Value: rung, Flags: recordFlags},
		)
		if err == nil && bellOnly(out) {
			// Somebody has locked the doorbell by hand. One that is made anew makes all who
			// listen look by themselves.
			out, err = send(
				&api.KVTxnOp{Verb: api.KVDelete, Key: bell},
				&api.KVTxnOp{Verb: api.KVSet, Key: bell, Value: rung, Flags: recordFlags},
			)
		}
	}
	if err != nil {
		return err
	}
	if err := rolledBack(out); err != nil {
		return err
	}
	s.saw(group, &api.KVPair{Key: key, Value: value, ModifyIndex: out.index(key)})
	return nil
}

// hang makes a doorbell, unless it is there.
func (s *store) hang(ctx context.Context, n int) {
	bell := s.bellKey(n)
	// If it fails, it is tried again at the next look, and until then the sweep finds
	// what is free.
	_, _ = s.apply(ctx, []*api.KVTxnOp{
		{Verb: api.KVCheckNotExists, Key: bell},
		{Verb: api.KVSet, Key: bell, Value: ring{}.encode(), Flags: recordFlags},
	})
}
