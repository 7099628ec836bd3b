package consul

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// claim says that somebody in this process wants, or may have got, a term. A
// record in a session of ours whose nonce nobody claims is an orphan: the session
// would keep it alive without end, so whoever sees one removes it. For the same
// reason a claim that is not renewed expires after its time-to-live, as the term
// would in a store that has an expiry of its own.
//
// All fields but group, nonce and sess are under the store's lock.
type claim struct {
	group string
	nonce driver.Nonce
	sess  *session

	expires   time.Time // when nobody can believe in the term any more
	granted   bool      // an Acquire has succeeded
	index     uint64    // the key's index when the record was last seen to be ours
	sends     int       // Acquires under way
	uncertain bool      // a transaction that acquires may still execute
	over      bool      // must not be extended any more: resigned, or being removed
	resigned  bool      // and so may not acquire again
	busy      bool      // the settler is at it
	failures  int       // of the settler
}

func (s *store) find(group string, n driver.Nonce) *claim {
	for _, c := range s.claims[group] {
		if c.nonce == n {
			return c
		}
	}
	return nil
}

// notLed returns those of groups in which this process has no live term.
func (s *store) notLed(groups []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(groups, func(g string) bool {
		return slices.ContainsFunc(s.claims[g], func(c *claim) bool { return c.granted && !c.over })
	})
}

// add registers c. The lock must be held.
func (s *store) add(c *claim) *claim {
	s.claims[c.group] = append(s.claims[c.group], c)
	c.sess.claims++
	s.startSettling()
	return c
}

// claim registers an Acquire that is about to write, or to extend what it wrote.
// It fails if the term is being removed.
func (s *store) claim(req driver.AcquireRequest, sess *session, start time.Time) (*claim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, driver.ErrClosed
	}
	c := s.find(req.Group, req.Nonce)
	switch {
	case c == nil:
		c = s.add(&claim{group: req.Group, nonce: req.Nonce, sess: sess})
	case c.over:
		return nil, errOver
	case c.sess != sess: // two sends at once, each with a session of its own
		return nil, errConflict
	}
	c.sends++
	c.prolong(start.Add(min(req.TTL, sess.ttl)))
	return c, nil
}

func (c *claim) prolong(until time.Time) {
	if until.After(c.expires) {
		c.expires = until
	}
}

// granted ends an Acquire that succeeded. It fails if the term was resigned or
// given up meanwhile; then the settler ends it.
func (s *store) granted(c *claim, start time.Time, g driver.Grant, index uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.sends--
	if c.over {
		return errOver
	}
	c.granted = true
	c.index = max(c.index, index)
	c.prolong(start.Add(g.Granted))
	return nil
}

// failed ends an Acquire that did not succeed; void says that its transaction
// certainly changed nothing and never will. Then the claim goes, unless another
// send may have been executed.
func (s *store) failed(c *claim, void bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.sends--
	c.uncertain = c.uncertain || !void
	if !c.uncertain && !c.granted && c.sends == 0 && !c.busy {
		s.drop(c)
	}
}

// renewed prolongs a claim after a renewal that was sent at start. It fails if the
// term was given up meanwhile.
func (s *store) renewed(c *claim, start time.Time, granted time.Duration, index uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.over || c.sess.dead || s.find(c.group, c.nonce) != c {
		return false
	}
	c.granted = true
	c.index = max(c.index, index)
	c.prolong(start.Add(granted))
	return true
}

// drop forgets a claim. The lock must be held.
func (s *store) drop(c *claim) {
	c.over = true
	claims := s.claims[c.group]
	if i := slices.Index(claims, c); i >= 0 {
		claims = slices.Delete(claims, i, i+1)
		c.sess.claims--
	}
	if len(claims) == 0 {
		delete(s.claims, c.group)
	} else {
		s.claims[c.group] = claims
	}
	s.forget(c.sess)
}

// lose forgets a claim whose term is certainly not live, and tells core.
func (s *store) lose(c *claim) {
	s.mu.Lock()
	told := c.over || !c.granted
	s.drop(c)
	sub := s.sub
	s.mu.Unlock()
	if !told {
		sub.lost(c)
	}
}

// reportOrphan looks at a record somebody read, and has it removed if it is in a
// session of ours and nobody claims it. It reports whether it is one.
func (s *store) reportOrphan(group string, p *api.KVPair, rec record) bool {
	if !locked(p) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sess := s.sessions[p.Session]
	if sess == nil || s.closed {
		return false
	}
	n, err := driver.ParseNonce(rec.Nonce)
	if err != nil {
		n = driver.Nonce{} // overwritten by somebody; the lock is still ours
	}
	if s.find(group, n) != nil {
		return false
	}
	if n.IsZero() {
		// Somebody wrote over the record of a term of ours, which may not know yet: its
		// next renewal finds out and reports the orphan again.
		for _, c := range s.claims[group] {
			if c.sess == sess && !c.over {
				return false
			}
		}
	}
	c := s.add(&claim{group: group, nonce: n, sess: sess, over: true, expires: time.Now()})
	if n.IsZero() { // whose term it was is unknown, and somebody may still believe in it
		c.expires = c.expires.Add(sess.ttl)
	}
	s.settleSoon()
	return true
}

// startSettling starts the goroutine that ends what nobody wants, unless it is
// running. It ends itself when there are no claims. The lock must be held.
func (s *store) startSettling() {
	if !s.settling {
		s.settling = s.goBackground(s.settler)
	}
}

func (s *store) settleSoon() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

const (
	settlePause = 50 * time.Millisecond // the least pause between two looks at one claim
	settleLimit = 5 * time.Second       // bounds one look
)

func (s *store) settler() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		case <-s.kick:
		}
		now := time.Now()
		var due []*claim
		next := now.Add(time.Minute)
		s.mu.Lock()
		if len(s.claims) == 0 {
			s.settling = false
			s.mu.Unlock()
			return
		}
		for _, claims := range s.claims {
			for _, c := range claims {
				if !c.expires.After(now) {
					c.over, c.busy = true, true
					due = append(due, c)
				} else if c.expires.Before(next) {
					next = c.expires
				}
			}
		}
		s.mu.Unlock()
		for _, c := range due {
			s.settleOne(c)
		}
		if len(due) > 0 {
			timer.Reset(0) // what was put off has a new time
		} else {
			timer.Reset(max(time.Until(next), settlePause))
		}
	}
}

// settleOne ends one claim, or puts it off.
func (s *store) settleOne(c *claim) {
	ctx, cancel := context.WithTimeout(s.ctx, settleLimit)
	err := s.settle(ctx, c)
	cancel()
	if err == nil {
		s.mu.Lock()
		granted := c.granted
		s.drop(c)
		sub := s.sub
		s.mu.Unlock()
		if granted { // core has ended it long ago, unless its renewals were stuck
			sub.lost(c)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.busy = false
	c.failures++
	pause := min(settlePause<<min(c.failures, 8), c.sess.ttl)
	c.expires = time.Now().Add(pause)
	if pause >= c.sess.ttl || c.failures > 8 {
		c.sess.retired = true
	}
}

// settle makes sure that the term of c is not live and never will be. A locked
// key that is ours is released. An unlocked one is written once if an acquiring
// transaction may still be under way: that moves the index it depends on.
func (s *store) settle(ctx context.Context, c *claim) error {
	for range 4 {
		p, err := s.read(ctx, c.group)
		if err != nil {
			return err
		}
		rec := decode(p)
		s.mu.Lock()
		pending := c.uncertain || c.sends > 0
		after := record{Ended: rec.Ended}
		if c.resigned {
			after.Ended = c.nonce.String()
		}
		s.mu.Unlock()
		switch {
		case locked(p) && p.Session == c.sess.id && s.orphanOf(rec, c):
			err = s.release(ctx, c.group, p.Session, p.ModifyIndex, after)
		case locked(p):
			s.reportOrphan(c.group, p, rec) // as when somebody wrote over the record
			return nil
		case !pending:
			return nil
		default:
			err = s.void(ctx, c.group, p, after)
		}
		if !errors.Is(err, errConflict) {
			return err
		}
	}
	return errConflict
}

// orphanOf reports whether rec is what c wants gone.
func (s *store) orphanOf(rec record, c *claim) bool {
	n, err := driver.ParseNonce(rec.Nonce)
	if err != nil {
		n = driver.Nonce{}
	}
	return n == c.nonce
}

// void moves the index of an unlocked key, so that no transaction that was
// prepared before can acquire it.
func (s *store) void(ctx context.Context, group string, p *api.KVPair, after record) error {
	op := &api.KVTxnOp{Verb: api.KVCAS, Key: s.key(group), Flags: recordFlags}
	if p != nil {
		op.Index = p.ModifyIndex
	}
	after.Void = driver.NewNonce().String()
	op.Value = after.encode()
	out, err := s.apply(ctx, []*api.KVTxnOp{op})
	if err != nil {
		return err
	}
	return rolledBack(out)
}
