package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// claim is a nonce that somebody in this process stands for: an attempt without
// a certain answer, or a term. The session lives as long as any group needs it,
// so what ends a term that is no longer renewed is its claim: one that nobody has
// made good for a whole session time-out lapses, and its lock node is removed. A
// lock node of our session without a claim is an orphan.
//
// The fields below session are guarded by the store's mutex.
type claim struct {
	claimKey
	session int64

	removing chan struct{} // closed when who removes the node has ended; nil if nobody does

	last     time.Time // beginning of the latest attempt or successful renewal
	inflight int       // calls and requests under way
	unsure   bool      // an attempt may have been executed, or may still be
	held     bool      // the lock node is known to be ours
	lost     bool      // it is known not to be a record of ours any more
	ending   bool      // it is being given up: never again won or renewed
	timer    *time.Timer

	token    uint64
	groupVer int32  // of the group node since our acquisition: the next one changes it
	lockVer  int32  // of the lock node
	checked  uint64 // the connection on which the record was last seen
	doubts   uint64 // events about the lock node
	cleared  uint64 // doubts when it was last seen
}

type claimKey struct {
	group string
	nonce driver.Nonce
}

func (s *store) newClaim(key claimKey, session int64) *claim {
	c := &claim{claimKey: key, session: session, last: time.Now()}
	c.timer = time.AfterFunc(s.o.SessionTimeout, func() { s.lapse(c) })
	return c
}

// claim makes or refreshes a claim for an attempt, after a removal of the same
// nonce that has begun. unsure tells that an earlier attempt has had no answer.
func (s *store) claim(ctx context.Context, key claimKey, session int64) (c *claim, unsure bool, err error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, false, driver.ErrClosed
		}
		c = s.claims[key]
		if c != nil && (c.session != session || c.lost && !c.ending) {
			s.forget(c) // its node went with its session, or is another's
			c = nil
		}
		if c == nil {
			c = s.newClaim(key, session)
			s.claims[key] = c
		}
		if !c.ending {
			c.last = time.Now()
			c.inflight++
			unsure = c.unsure
			s.mu.Unlock()
			return c, unsure, nil
		}
		s.mu.Unlock()
		if err := s.remove(ctx, c, false); err != nil && !errors.Is(err, driver.ErrLost) {
			return nil, false, err
		}
		s.mu.Lock()
		still := s.claims[key] == c
		s.mu.Unlock()
		if still {
			return nil, false, fmt.Errorf("zookeeper: %w: an earlier request of the nonce has had no answer", driver.ErrNotApplied)
		}
	}
}

// release ends what claim began.
func (s *store) release(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.inflight--
	if c.inflight == 0 && !c.held && !c.unsure && !c.ending && !c.lost {
		s.forget(c)
	}
}

// forget drops c; the lock is held.
func (s *store) forget(c *claim) {
	c.timer.Stop()
	if s.claims[c.claimKey] == c {
		delete(s.claims, c.claimKey)
	}
	if s.leading[c.group] == c {
		delete(s.leading, c.group)
		s.tidy(c.group)
	}
}

// owned notes that the lock node, read over connection epoch when the claim had
// so many doubts, is ours. It reports false if the claim was given up meanwhile,
// or its session has ended: then it was not won.
func (s *store) owned(c *claim, t0 time.Time, n node, groupVer int32, epoch, doubts uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.ending || c.lost || s.claims[c.claimKey] != c {
		return false
	}
	c.held, c.unsure = true, false
	if t0.After(c.last) {
		c.last = t0
	}
	c.token, c.groupVer, c.lockVer = uint64(n.stat.Czxid), groupVer, n.stat.Version
	c.checked, c.cleared = epoch, doubts
	if s.leading[c.group] != c {
		s.leading[c.group] = c
		w := s.want(c.group)
		w.outlook.follow(c.nonce, c.groupVer)
		w.raced, w.beaten = false, false
		select {
		case s.hurry <- struct{}{}:
		default:
		}
	}
	return true
}

// settle drops a claim whose node is not there any more, but for requests that
// may still make one; the timer then looks again.
func (s *store) settle(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.inflight > 0 && s.claims[c.claimKey] == c {
		c.timer.Reset(s.tick / 2)
		return
	}
	s.forget(c)
}

// doubt notes, once a request of c has been answered by a success, or by nothing,
// that there may be a lock node of its nonce. If the session has ended meanwhile,
// the request may have been executed in the next one.
func (s *store) doubt(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.unsure = true
	if l, _, _ := s.hook.look(); s.claims[c.claimKey] == nil && l.session != 0 && !s.closed {
		next := s.newClaim(c.claimKey, l.session)
		next.unsure = true
		s.claims[c.claimKey] = next
	}
}

// whose reports whether the lock node n is the record of c, seen from the session
// of l.
func (s *store) whose(c *claim, l link, n node) bool {
	if n.stat.EphemeralOwner != l.session || c.session != l.session {
		return false
	}
	rec, ok := decodeLock(c.group, n.data, n.stat)
	s.mu.Lock()
	defer s.mu.Unlock()
	return ok && rec.Nonce == c.nonce && (c.token == 0 || c.token == rec.Token)
}

// owns is whose for a removal: a node of ours whose data somebody has replaced is
// still ours to remove.
func (s *store) owns(c *claim, l link, n node) bool {
	if s.whose(c, l, n) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return n.stat.EphemeralOwner == l.session && c.token != 0 && c.token == uint64(n.stat.Czxid)
}

func (s *store) doubts(c *claim) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.doubts
}

// lapse is run by the timer of c.
func (s *store) lapse(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch wait := s.o.SessionTimeout - time.Since(c.last); {
	case s.claims[c.claimKey] != c || s.closed:
		return
	case wait > 0 && !c.ending:
		c.timer.Reset(wait)
		return
	case c.inflight > 0: // it may yet succeed, and then it counts
		c.timer.Reset(s.tick / 2)
		return
	}
	c.ending = true
	s.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, s.o.SessionTimeout)
		defer cancel()
		if err := s.remove(ctx, c, false); err != nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.claims[c.claimKey] == c {
				c.timer.Reset(s.tick)
			}
		}
	})
}

// losing marks c as lost and reports whether this call did. The lock is held.
func (s *store) losing(c *claim) bool {
	if c.lost || c.ending || s.claims[c.claimKey] != c {
		return false
	}
	was := c.held
	c.lost, c.held = true, false
	return was
}
