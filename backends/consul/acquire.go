package consul

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// rounds is how often an operation looks again after the key changed under it.
const rounds = 4

// Acquire implements driver.Driver. It locks the key in a transaction that fails
// if anything changed since the key was seen to be free. It was seen so by the
// long poll that woke the follower or by a resignation of this process; where
// neither is known, or no longer true, the key is read. An attempt that finds the
// group led by reading costs no session.
func (s *store) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	if s.isClosed() {
		return driver.Grant{}, driver.ErrClosed
	}
	begun := time.Now()
	ctx, cancel := s.bind(ctx)
	defer cancel()
	p := s.takeFree(req.Group)
	for range rounds {
		var err error
		if p == nil {
			if p, err = s.read(ctx, req.Group); err != nil {
				return driver.Grant{}, s.unsent(req, err)
			}
		}
		rec := decode(p)
		if rec.Ended == req.Nonce.String() {
			return driver.Grant{}, driver.ErrResigned
		}
		var g driver.Grant
		if locked(p) {
			g, err = s.acquireLocked(ctx, req, p, rec)
		} else {
			g, err = s.acquireFree(ctx, req, begun, p, rec)
		}
		switch {
		case errors.Is(err, errConflict), errors.Is(err, errSession):
			p = nil
			continue
		case errors.Is(err, errLockDelay):
			s.refused(req.Group, rec)
			return driver.Grant{}, &driver.HeldError{Record: driver.Record{
				Term: driver.Term{Group: req.Group}, Remaining: driver.RemainingUnknown,
			}}
		case err == nil:
			s.freed(req.Group)
		}
		return g, err
	}
	return driver.Grant{}, s.unsent(req, errConflict)
}

// unsent marks the failure of an attempt that wrote nothing as certain, unless an
// earlier send of the same nonce may still execute.
func (s *store) unsent(req driver.AcquireRequest, err error) error {
	if errors.Is(err, driver.ErrMisconfigured) || errors.Is(err, driver.ErrClosed) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(req.Group, req.Nonce) != nil {
		return err
	}
	return notApplied(err)
}

// acquireLocked answers for a key that somebody has locked.
func (s *store) acquireLocked(ctx context.Context, req driver.AcquireRequest, p *api.KVPair, rec record) (driver.Grant, error) {
	s.mu.Lock()
	sess := s.sessions[p.Session]
	s.mu.Unlock()
	if sess == nil || rec.Nonce != req.Nonce.String() {
		// The lock of another process, or of another elector of this one. A session is
		// shared, so that it is ours does not make the term ours.
		s.supersede(req, p)
		s.reportOrphan(req.Group, p, rec)
		s.freed(req.Group)
		s.tried(req.Group, try{nonce: rec.Nonce, index: p.ModifyIndex})
		return driver.Grant{}, &driver.HeldError{Record: rec.term(req.Group, p)}
	}
	// The reply to an earlier send was lost.
	start := time.Now()
	c, err := s.claim(req, sess, start)
	if err != nil {
		return driver.Grant{}, err
	}
	if err = s.prolong(ctx, sess); err != nil {
		s.failed(c, false)
		return driver.Grant{}, err
	}
	g := driver.Grant{Token: rec.token(p), Granted: min(req.TTL, sess.ttl), AcquiredAt: rec.AcquiredAt}
	return g, s.granted(c, start, g, p.ModifyIndex)
}

// supersede forgets a claim of req that a consistent read has shown to be void:
// all its transactions depend on an index that is gone.
func (s *store) supersede(req driver.AcquireRequest, p *api.KVPair) {
	s.mu.Lock()
	c := s.find(req.Group, req.Nonce)
	gone := c != nil && c.sends == 0 && !c.busy
	s.mu.Unlock()
	if gone {
		s.lose(c)
	}
}

// acquireFree locks a key that nobody has locked.
func (s *store) acquireFree(ctx context.Context, req driver.AcquireRequest, begun time.Time, p *api.KVPair, rec record) (driver.Grant, error) {
	// A nonce stays with the session of its earlier sends, one of which may still
	// execute. If that session is dead, the transaction will say so.
	sess, err := s.sessionOf(req), error(nil)
	if sess == nil {
		sess, err = s.sessionFor(ctx, req.TTL)
	}
	if err != nil {
		return driver.Grant{}, s.unsent(req, err)
	}
	c, err := s.claim(req, sess, begun)
	if err != nil {
		return driver.Grant{}, err
	}
	// A session that was not renewed lately is renewed while the transaction runs.
	// Both execute after this attempt began, and the transaction fails without the
	// session, so what the renewal grants holds for the term.
	renewal := make(chan error, 1)
	if s.fresh(sess, begun) {
		renewal <- nil
	} else {
		s.alongside(sess, renewal)
	}
	g, index, void, err := s.lock(ctx, req, p, rec, sess)
	if err != nil {
		s.failed(c, void)
		if errors.Is(err, errSession) {
			s.sessionDied(sess)
		}
		if void && !errors.Is(err, errConflict) && !errors.Is(err, errSession) && !errors.Is(err, errLockDelay) {
			err = s.unsent(req, err)
		}
		return driver.Grant{}, err
	}
	select {
	case err = <-renewal:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		s.failed(c, false)
		return driver.Grant{}, err
	}
	g.Granted = min(req.TTL, s.left(sess, begun))
	if err = s.granted(c, begun, g, index); err == nil {
		s.tried(req.Group, try{nonce: req.Nonce.String(), index: index, won: true})
	}
	return g, err
}

// sessionOf is the session in which req was sent before, if any.
func (s *store) sessionOf(req driver.AcquireRequest) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.find(req.Group, req.Nonce); c != nil {
		return c.sess
	}
	return nil
}

// alongside renews the session in the background. The renewal is not tied to the
// attempt that asked for it: cancelling it when the transaction fails would cost a
// connection each time.
func (s *store) alongside(sess *session, result chan<- error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	started := s.goBackground(func() {
		ctx, cancel := context.WithTimeout(s.ctx, sess.ttl)
		defer cancel()
		result <- s.prolong(ctx, sess)
	})
	if !started {
		result <- driver.ErrClosed
	}
}

// lock sends the transaction that acquires. If it fails, void says that it
// certainly changed nothing and never will.
func (s *store) lock(ctx context.Context, req driver.AcquireRequest, p *api.KVPair, rec record, sess *session) (g driver.Grant, index uint64, void bool, err error) {
	now := time.Now().UTC().Round(0)
	value := record{
		Nonce: req.Nonce.String(), Participant: req.Participant, AcquiredAt: now,
		TTL: millis(req.TTL), LockDelay: millis(sess.lockDelay), Metadata: req.Metadata, Ended: rec.Ended,
	}.encode()
	key := s.key(req.Group)
	check := &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: key}
	if p != nil {
		check = &api.KVTxnOp{Verb: api.KVCheckIndex, Key: key, Index: p.ModifyIndex}
	}
	out, err := s.apply(ctx, []*api.KVTxnOp{
		check,
		{Verb: api.KVLock, Key: key, Value: value, Flags: recordFlags, Session: sess.id},
	})
	if err != nil {
		return g, 0, notSent(err) || errors.Is(err, driver.ErrMisconfigured), err
	}
	if err := lockRefused(out); err != nil {
		return g, 0, true, err
	}
	for _, r := range out.Results {
		if r.KV != nil && r.KV.Key == key && r.KV.Session == sess.id {
			index = r.KV.ModifyIndex
		}
	}
	if index == 0 {
		return g, 0, false, errUnexpected // executed, but the answer does not show it
	}
	return driver.Grant{Token: index, AcquiredAt: now}, index, false, nil
}

// lockRefused tells why the acquiring transaction was rolled back, which it is
// as a whole. What is not recognised counts as a conflict: the next round reads
// the key again, and ends after a few.
func lockRefused(out *outcome) error {
	for _, e := range out.Errors {
		switch {
		case strings.Contains(e.What, "lock delay"):
			return errLockDelay
		case strings.Contains(e.What, "invalid session"):
			return errSession
		case errors.Is(classify(errors.New(e.What)), driver.ErrMisconfigured):
			return classify(errors.New(e.What))
		}
	}
	return rolledBack(out)
}

// rolledBack returns errConflict for a transaction that changed nothing.
func rolledBack(out *outcome) error {
	for _, e := range out.Errors {
		if err := classify(errors.New(e.What)); errors.Is(err, driver.ErrMisconfigured) {
			return err
		}
	}
	if len(out.Errors) > 0 {
		return errConflict
	}
	return nil
}
