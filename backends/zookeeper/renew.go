package zookeeper

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// Renew is one write for all terms: it shows that the session is alive, and with
// it every lock node of the session. That a term's lock node is still there and
// still ours is known from its watch: the server sends the event of a change
// before the answer to a later write. Where no watch is in force, or after it
// fired, or over a new connection, the lock node is read.
func (s *store) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	t0 := time.Now()
	todo := make([]int, len(reqs))
	for i := range reqs {
		todo[i] = i
	}
	for try := 0; ; try++ {
		rest, err := s.renew(ctx, t0, reqs, todo, report)
		if len(rest) == 0 {
			return
		}
		if try >= s.o.Retries || !lostConnection(err) || ctx.Err() != nil {
			for _, i := range rest {
				report(driver.RenewResult{Index: i, Err: explain(err)})
			}
			return
		}
		todo = rest
	}
}

// renew makes one try and returns what it left open.
func (s *store) renew(ctx context.Context, t0 time.Time, reqs []driver.RenewRequest, todo []int, report func(driver.RenewResult)) ([]int, error) {
	l, p, err := s.fresh(ctx, t0)
	if err != nil {
		return todo, err
	}
	var mu sync.Mutex // report, rest and failure
	var rest []int
	var failure error
	answer := func(i int, granted time.Duration, err error) {
		mu.Lock()
		defer mu.Unlock()
		if lostConnection(err) {
			rest, failure = append(rest, i), err
			return
		}
		report(driver.RenewResult{Index: i, Granted: granted, Err: explain(err)})
	}

	var wg sync.WaitGroup
	defer wg.Wait()
	claims := make(map[int]*claim, len(todo))
	for _, i := range todo {
		c, ending := s.renewing(claimKey{reqs[i].Term.Group, reqs[i].Term.Nonce}, l)
		switch {
		case ending != nil: // its record goes first, so that the answer is the whole truth
			wg.Go(func() {
				_ = s.remove(ctx, ending, false) // whatever comes of it, the term is over
				answer(i, 0, driver.ErrLost)
			})
		case c == nil:
			answer(i, 0, driver.ErrLost)
		default:
			claims[i] = c
			defer s.release(c)
		}
	}
	if len(claims) == 0 {
		wg.Wait()
		return rest, failure
	}

	stop := s.watchdog(ctx, l)
	err = s.heartbeat(ctx, l)
	stop()
	if err != nil {
		for i := range claims {
			rest = append(rest, i)
		}
		return rest, err
	}
	lifetime := p.lifetime(l.timeout, t0)
	var doubtful []int
	for i, c := range claims {
		if reqs[i].Metadata == nil && s.undoubted(c, l) {
			answer(i, min(reqs[i].TTL, lifetime), s.renewed(c, t0))
			continue
		}
		doubtful = append(doubtful, i)
	}
	spread(len(doubtful), func(k int) {
		i := doubtful[k]
		c, req := claims[i], reqs[i]
		err := s.verify(ctx, l, c, t0)
		if err == nil && req.Metadata != nil {
			err = s.setMetadata(ctx, l, c, t0, req)
		}
		if err == nil {
			err = s.renewed(c, t0)
		}
		answer(i, min(req.TTL, lifetime), err)
	})
	wg.Wait()
	return rest, failure
}

// renewing returns the claim to renew, which cannot lapse until release, or one
// that is ending; neither if the term is certainly over.
func (s *store) renewing(key claimKey, l link) (c, ending *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.claims[key]
	switch {
	case c == nil || c.lost || c.session != l.session || !c.held && !c.unsure:
		return nil, nil
	case c.ending:
		return nil, c
	}
	c.inflight++
	return c, nil
}

// undoubted reports whether the lock node of c is known to be ours up to the
// latest answer on l.
func (s *store) undoubted(c *claim, l link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[c.group]
	return c.held && c.checked == l.epoch && c.cleared == c.doubts &&
		w != nil && w.armed && w.czxid == int64(c.token) && w.version == c.lockVer
}

// renewed notes a renewal that began at t0, unless the term has ended meanwhile.
func (s *store) renewed(c *claim, t0 time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.held || c.ending || s.claims[c.claimKey] != c {
		return driver.ErrLost
	}
	if t0.After(c.last) {
		c.last = t0
	}
	return nil
}

// verify reads the lock node of c. Whatever it finds is certain: reads of a
// session see all that its earlier writes saw.
func (s *store) verify(ctx context.Context, l link, c *claim, t0 time.Time) error {
	doubts := s.doubts(c)
	group, lock, err := s.readInOrder(ctx, c.group)
	if err != nil && !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	if !s.same(l) {
		return errMoved
	}
	if err != nil || lock.stat == nil || !s.whose(c, l, lock) {
		s.tellLost(c)
		return driver.ErrLost
	}
	if !s.owned(c, t0, lock, group.stat.Version, l.epoch, doubts) {
		return driver.ErrLost
	}
	return nil
}

// setMetadata replaces the record, on condition that nobody has acquired since.
func (s *store) setMetadata(ctx context.Context, l link, c *claim, t0 time.Time, req driver.RenewRequest) error {
	for range 5 {
		s.mu.Lock()
		groupVer, lockVer := c.groupVer, c.lockVer
		s.mu.Unlock()
		data, err := encodeLock(c.nonce, req.Term.Participant, req.TTL, req.Metadata, groupVer)
		if err != nil {
			return err
		}
		_, err = s.multi(ctx,
			&zk.CheckVersionRequest{Path: s.groupPath(c.group), Version: groupVer},
			&zk.SetDataRequest{Path: s.lockPath(c.group), Data: data, Version: lockVer})
		if !errors.Is(err, zk.ErrBadVersion) && !errors.Is(err, zk.ErrNoNode) {
			if err == nil {
				s.mu.Lock()
				c.lockVer = max(c.lockVer, lockVer+1)
				s.mu.Unlock()
			}
			return err
		}
		// Perhaps an earlier write of ours whose answer was lost: the record tells.
		if err := s.verify(ctx, l, c, t0); err != nil {
			return err
		}
	}
	return errors.New("zookeeper: others keep changing the record")
}

// tellLost marks c as lost and tells core, once.
func (s *store) tellLost(c *claim) {
	s.mu.Lock()
	told := s.losing(c)
	sub := s.sub
	s.mu.Unlock()
	if told && sub != nil {
		sub.tell(func(sink driver.Sink) { sink.Lost(c.group, c.nonce) })
	}
}
