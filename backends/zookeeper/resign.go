package zookeeper

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// Resign removes the lock node, whose watchers hear of it, and leaves the nonce
// in the group node, in one transaction.
func (s *store) Resign(ctx context.Context, t driver.Term) error {
	l, err := s.ready(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	c := s.claims[claimKey{t.Group, t.Nonce}]
	if c == nil || c.session != l.session {
		// Not known to this process, or gone with its session. It may still be an
		// orphan of ours.
		if c != nil {
			s.forget(c)
		}
		c = s.newClaim(claimKey{t.Group, t.Nonce}, l.session)
		s.claims[c.claimKey] = c
	}
	if c.lost && !c.ending {
		s.mu.Unlock()
		return driver.ErrLost
	}
	c.ending = true // final, whatever the answer
	s.mu.Unlock()
	return explain(s.remove(ctx, c, true))
}

// remove deletes the lock node of a claim that is ending and forgets the claim.
// With resign, the group node then names the nonce as the one that resigned last.
// The error is ErrLost if there is nothing of the claim to remove.
//
// The delete is on condition of the group node's version, which every
// acquisition changes: a lock node's own version would not do, since that of a
// new node begins at 0 again.
func (s *store) remove(ctx context.Context, c *claim, resign bool) error {
	for {
		s.mu.Lock()
		busy := c.removing
		if busy == nil {
			c.removing = make(chan struct{})
		}
		s.mu.Unlock()
		if busy == nil {
			break
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return ended(ctx)
		}
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(c.removing)
		c.removing = nil
	}()
	sent := false // a transaction of this call may have been executed
	for try := 0; ; try++ {
		err := s.removeOnce(ctx, c, resign, &sent)
		if err == nil || errors.Is(err, driver.ErrLost) {
			s.settle(c)
			return err
		}
		if try >= s.o.Retries || !lostConnection(err) || ctx.Err() != nil {
			s.mu.Lock()
			c.timer.Reset(s.o.SessionTimeout) // lapse tries again
			s.mu.Unlock()
			return err
		}
	}
}

func (s *store) removeOnce(ctx context.Context, c *claim, resign bool, sent *bool) error {
	l, err := s.linked(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	forgotten := s.claims[c.claimKey] != c
	sync := c.unsure || *sent
	known, groupVer, lockVer := resign && c.held && !sync, c.groupVer, c.lockVer
	s.mu.Unlock()
	if forgotten || l.session != c.session {
		return driver.ErrLost // removed by another call, or gone with its session
	}
	if sync {
		if err := s.sync(ctx); err != nil {
			return err
		}
	}
	for range 10 {
		// Of a term that is held both versions are known, unless somebody else has
		// been at its record.
		if known {
			known, *sent = false, true
			err = s.end(ctx, c, encodeGroup(c.nonce), groupVer, lockVer)
			if !errors.Is(err, zk.ErrBadVersion) && !errors.Is(err, zk.ErrNoNode) {
				return err
			}
			*sent = false
		}
		group, lock, err := s.readInOrder(ctx, c.group)
		switch {
		case errors.Is(err, zk.ErrNoNode):
			return driver.ErrLost
		case err != nil:
			return err
		case lock.stat == nil || !s.owns(c, l, lock):
			if *sent && resign && resigned(group.data) == c.nonce {
				return nil // by the transaction whose answer was lost
			}
			return driver.ErrLost
		}
		data := group.data
		if resign {
			data = encodeGroup(c.nonce)
		}
		*sent = true
		err = s.end(ctx, c, data, group.stat.Version, -1)
		switch {
		case errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNoNode):
			*sent = false
		default:
			return err
		}
	}
	return fmt.Errorf("zookeeper: %w: others keep changing the group", driver.ErrNotApplied)
}

// end is the transaction that ends the term of c, on condition of the versions of
// both nodes; -1 fits any.
func (s *store) end(ctx context.Context, c *claim, data []byte, groupVer, lockVer int32) error {
	_, err := s.multi(ctx,
		&zk.SetDataRequest{Path: s.groupPath(c.group), Data: data, Version: groupVer},
		&zk.DeleteRequest{Path: s.lockPath(c.group), Version: lockVer})
	if err == nil && resigned(data) == c.nonce {
		s.mu.Lock()
		defer s.mu.Unlock()
		if w := s.watches[c.group]; w != nil {
			w.outlook.follow(c.nonce, groupVer)
			w.outlook.free = true
			w.raced = false // our own end began no race
			s.keep(c.group, w)
		}
	}
	return err
}
