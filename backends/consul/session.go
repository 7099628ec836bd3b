package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// session is one session of this process. Its fields but id, ttl and lockDelay are
// under the store's lock.
type session struct {
	id        string
	ttl       time.Duration
	lockDelay time.Duration

	claims  int       // on it
	touched time.Time // when the last request that prolonged it, or created it, was sent
	dead    bool      // Consul said that it does not exist any more
	// retired takes no new terms: an Acquire on it could not be settled, so that a
	// late transaction may still put a term on it that nobody wants.
	retired bool
}

// sessionFor returns the session that terms with this time-to-live are put on.
// Sessions that nobody renewed for long are replaced, so that an idle follower
// costs nothing.
func (s *store) sessionFor(ctx context.Context, ttl time.Duration) (*session, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, driver.ErrClosed
		}
		if cur := s.current[ttl]; cur != nil {
			if !cur.dead && !cur.retired && time.Since(cur.touched) < 2*ttl {
				s.mu.Unlock()
				return cur, nil
			}
			delete(s.current, ttl)
			s.forget(cur)
		}
		c := s.creating[ttl]
		if c == nil { // one is enough for all who ask at once
			c = &creation{done: make(chan struct{})}
			s.creating[ttl] = c
			s.goBackground(func() { s.create(ttl, c) })
		}
		s.mu.Unlock()
		select {
		case <-c.done:
			if c.err != nil {
				return nil, c.err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// left is how long after begun the session lives at least: a time-to-live from the
// moment its last renewal was sent, but no longer than from begun.
func (s *store) left(sess *session, begun time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sess.ttl - max(0, begun.Sub(sess.touched))
}

// fresh reports whether an attempt that began at begun may do without renewing the
// session: if that happened since, or so shortly before that the term may begin
// with the rest. The clock that tells may have stood still while this machine was
// suspended. Therefore the rest counts only if the lock-delay keeps others away for
// a whole time-to-live after the key was locked, however the session fares.
func (s *store) fresh(sess *session, begun time.Time) bool {
	left := s.left(sess, begun)
	return left == sess.ttl || sess.lockDelay >= sess.ttl && left >= sess.ttl-sess.ttl/10
}

// creation is a session on its way. It is not tied to the attempt that asked for
// it: on a slow server every attempt would leave a session behind and none would
// ever use one.
type creation struct {
	done chan struct{}
	err  error // once done
}

// createLimit bounds the creation of a session.
const createLimit = 15 * time.Second

func (s *store) create(ttl time.Duration, c *creation) {
	ctx, cancel := context.WithTimeout(s.ctx, createLimit)
	defer cancel()
	sess, err := s.createSession(ctx, ttl)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.creating, ttl)
	if err == nil {
		s.sessions[sess.id] = sess // Close destroys it, if that has begun meanwhile
		s.current[ttl] = sess
	}
	c.err = err
	close(c.done)
}

func (s *store) createSession(ctx context.Context, ttl time.Duration) (*session, error) {
	sess := &session{ttl: ttl, lockDelay: s.lockDelay(ttl), touched: time.Now()}
	entry := &api.SessionEntry{
		Name:       "multilock",
		TTL:        fmt.Sprintf("%dms", ttl.Milliseconds()),
		LockDelay:  time.Duration(millis(sess.lockDelay)) * time.Millisecond,
		Behavior:   api.SessionBehaviorRelease, // the other one deletes the keys
		NodeChecks: s.o.NodeChecks,
	}
	create := s.client.Session().CreateNoChecks
	if len(s.o.NodeChecks) > 0 {
		create = s.client.Session().Create
	}
	id, _, err := create(entry, s.write(ctx))
	if err != nil {
		return nil, classify(err)
	}
	sess.id = id
	return sess, nil
}

// prolong renews the session. errSession says that it certainly does not exist;
// then its terms have been told.
func (s *store) prolong(ctx context.Context, sess *session) error {
	start := time.Now()
	s.mu.Lock()
	dead := sess.dead
	s.mu.Unlock()
	if dead {
		return errSession
	}
	entry, _, err := s.client.Session().Renew(sess.id, s.write(ctx))
	if err != nil {
		return classify(err)
	}
	if entry == nil {
		// A server that has just begun to lead may not have applied yet what created
		// the session. A consistent read waits for that.
		return s.verify(ctx, sess)
	}
	s.mu.Lock()
	if start.After(sess.touched) {
		sess.touched = start
	}
	s.mu.Unlock()
	return nil
}

// verify asks whether the session exists. It never returns nil: a session that
// does exist has not been renewed.
func (s *store) verify(ctx context.Context, sess *session) error {
	entry, _, err := s.client.Session().Info(sess.id, s.query(ctx, &api.QueryOptions{RequireConsistent: true}))
	if err != nil {
		return classify(err)
	}
	if entry != nil {
		return fmt.Errorf("%w: not renewed, though it exists", errUnexpected)
	}
	s.sessionDied(sess)
	return errSession
}

// sessionDied ends the terms of a session that does not exist any more.
func (s *store) sessionDied(sess *session) {
	s.mu.Lock()
	if sess.dead {
		s.mu.Unlock()
		return
	}
	sess.dead = true
	if s.current[sess.ttl] == sess {
		delete(s.current, sess.ttl)
	}
	delete(s.sessions, sess.id)
	var lost []*claim
	for _, claims := range s.claims {
		for _, c := range claims {
			if c.sess == sess {
				lost = append(lost, c)
			}
		}
	}
	for _, c := range lost {
		s.drop(c)
	}
	sub := s.sub
	s.mu.Unlock()
	for _, c := range lost {
		sub.lost(c)
	}
}

// forget drops a session that takes no new terms once it carries none. It is not
// destroyed: without locks it ends by itself and delays nobody. The lock must be
// held.
func (s *store) forget(sess *session) {
	if sess.claims == 0 && s.current[sess.ttl] != sess {
		delete(s.sessions, sess.id)
	}
}
