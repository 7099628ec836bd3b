package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// session is one session of this process. Its fields but id, ttl and lockDelay
// are under the store's lock.
type session struct {
	id        string
	ttl       time.Duration
	lockDelay time.Duration

	claims  int       // on it
	touched time.Time // when the last request that prolonged it was sent
	dead    bool      // Consul said that it does not exist any more
	// retired takes no new terms: an Acquire on it could not be settled, so that a
	// late transaction may still put a term on it that nobody wants.
	retired bool
}

// sessionFor returns the session that terms with this time-to-live are put on,
// and whether this very call created it. Sessions that nobody renewed for long
// are replaced, so that an idle follower costs nothing.
func (s *store) sessionFor(ctx context.Context, ttl time.Duration) (sess *session, created bool, err error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, false, driver.ErrClosed
		}
		if cur := s.current[ttl]; cur != nil {
			if !cur.dead && !cur.retired && time.Since(cur.touched) < 2*ttl {
				s.mu.Unlock()
				return cur, false, nil
			}
			delete(s.current, ttl)
			s.forget(cur)
		}
		busy := s.creating[ttl]
		if busy == nil {
			break
		}
		s.mu.Unlock()
		select { // one is enough for all who ask at once
		case <-busy:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	busy := make(chan struct{})
	s.creating[ttl] = busy
	s.mu.Unlock()

	sess, err = s.createSession(ctx, ttl)

	s.mu.Lock()
	delete(s.creating, ttl)
	close(busy)
	closed := s.closed
	if err == nil && !closed {
		s.sessions[sess.id] = sess
		s.current[ttl] = sess
	}
	s.mu.Unlock()
	if err == nil && closed {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
		defer cancel()
		_, _ = s.client.Session().Destroy(sess.id, s.write(ctx)) // or it ends with its TTL
		return nil, false, driver.ErrClosed
	}
	return sess, true, err
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
