package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// Acquire decides by one transaction: create the lock node, ephemeral, and touch
// the group node, provided that nothing was acquired or resigned since the group
// node was read. Its zxid is the token.
func (s *store) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	t0 := time.Now()
	for try := 0; ; try++ {
		g, err := s.acquire(ctx, t0, req)
		if try >= s.o.Retries || !lostConnection(err) || ctx.Err() != nil {
			return g, explain(err)
		}
	}
}

func (s *store) acquire(ctx context.Context, t0 time.Time, req driver.AcquireRequest) (driver.Grant, error) {
	key := claimKey{req.Group, req.Nonce}
	l, err := s.ready(ctx)
	if err != nil {
		return driver.Grant{}, s.notSent(key, err)
	}
	if err := s.checkTimeout(l); err != nil {
		return driver.Grant{}, err
	}
	c, unsure, err := s.claim(ctx, key, l.session)
	if err != nil {
		return driver.Grant{}, err
	}
	defer s.release(c)
	if unsure {
		// What an earlier attempt did may not have reached our server yet.
		if err := s.sync(ctx); err != nil {
			return driver.Grant{}, err
		}
	}
	for range 10 {
		var lock node
		group, free := s.foreseen(req.Group)
		if unsure {
			group = node{} // only a read tells what has become of the earlier attempt
		}
		switch {
		case group.stat == nil:
			group, lock, err = s.readBoth(ctx, req.Group)
		case !free:
			lock, err = s.readFree(ctx, req.Group)
		}
		switch {
		case errors.Is(err, zk.ErrNoNode):
			if err = s.createGroup(ctx, req.Group); err != nil {
				return driver.Grant{}, err
			}
			continue
		case err != nil:
			return driver.Grant{}, err
		case lock.stat != nil && s.whose(c, l, lock):
			return s.again(ctx, t0, l, c, req)
		case lock.stat != nil:
			removed, err := s.removeOrphan(ctx, l, req.Group, lock)
			if err != nil {
				return driver.Grant{}, err
			}
			if removed {
				s.unforeseen(req.Group)
				continue
			}
			s.certain(c)
			return driver.Grant{}, s.held(req.Group, lock)
		case resigned(group.data) == req.Nonce:
			s.certain(c)
			return driver.Grant{}, driver.ErrResigned
		}
		// Only now: who just looks who leads needs no proof of life.
		proven, p, err := s.fresh(ctx, t0)
		switch {
		case err != nil:
			return driver.Grant{}, s.notSent(key, err)
		case proven.session != l.session:
			return driver.Grant{}, errMoved
		}
		l = proven
		doubts := s.doubts(c)
		created, err := s.contend(ctx, c, req, group)
		switch {
		case err == nil && !s.same(l):
			return driver.Grant{}, errMoved
		case err == nil:
			return s.won(c, t0, l, p, created, doubts, req)
		case refused(err):
			s.certain(c)
			if errors.Is(explain(err), driver.ErrMisconfigured) {
				return driver.Grant{}, err
			}
			// Another was first: look again.
			if errors.Is(err, zk.ErrNodeExists) {
				s.taken(req.Group)
			} else {
				s.unforeseen(req.Group)
			}
		default:
			return driver.Grant{}, err
		}
	}
	return driver.Grant{}, fmt.Errorf("zookeeper: %w: others keep changing the group", driver.ErrNotApplied)
}

// notSent marks err as an attempt that changed nothing, unless an earlier attempt
// of the nonce has had no answer.
func (s *store) notSent(key claimKey, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.claims[key]; c != nil && c.unsure || errors.Is(err, driver.ErrClosed) || errors.Is(err, driver.ErrMisconfigured) {
		return err
	}
	return fmt.Errorf("%w: %w", driver.ErrNotApplied, err)
}

// certain notes that no attempt of c has been executed or will be.
func (s *store) certain(c *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.unsure = false
}

// readBoth reads group and lock node in one round trip. A free lock has no stat;
// zk.ErrNoNode says that the group node is missing.
func (s *store) readBoth(ctx context.Context, group string) (g, lock node, err error) {
	type answer struct {
		n   node
		err error
	}
	locks := make(chan answer, 1)
	go func() {
		n, err := s.readLock(ctx, group)
		locks <- answer{n, err}
	}()
	g, err = s.get(ctx, s.groupPath(group))
	a := <-locks
	switch {
	case err != nil:
	case errors.Is(a.err, zk.ErrNoNode):
	default:
		lock, err = a.n, a.err
	}
	return g, lock, err
}

// readFree is readLock for a lock node that may be missing.
func (s *store) readFree(ctx context.Context, group string) (node, error) {
	lock, err := s.readLock(ctx, group)
	if errors.Is(err, zk.ErrNoNode) {
		return node{}, nil
	}
	return lock, err
}

// contend tries to create the lock node. The claim counts as unsure until the
// caller knows better, and as in flight until the library has an answer, even if
// ctx ends before.
func (s *store) contend(ctx context.Context, c *claim, req driver.AcquireRequest, g node) (created node, err error) {
	group := req.Group
	data, err := encodeLock(req.Nonce, req.Participant, req.TTL, req.Metadata, g.stat.Version+1)
	if err != nil {
		return node{}, err
	}
	s.mu.Lock()
	c.unsure = true
	c.inflight++
	c.held, c.token = false, 0
	s.mu.Unlock()
	return ask(ctx, s, true, func() (node, error) {
		defer s.release(c)
		r, err := s.conn.Multi(
			&zk.CreateRequest{Path: s.lockPath(group), Data: data, Acl: s.acl(), Flags: zk.FlagEphemeral},
			&zk.SetDataRequest{Path: s.groupPath(group), Data: g.data, Version: g.stat.Version},
		)
		if !refused(err) {
			s.doubt(c)
		}
		if err != nil {
			return node{}, err
		}
		if len(r) != 2 || r[1].Stat == nil {
			return node{}, errors.New("zookeeper: incomplete answer to a transaction")
		}
		return node{stat: r[1].Stat}, nil
	})
}

// refused reports whether err is the ensemble's word that a transaction was not
// executed.
func refused(err error) bool {
	return errors.Is(err, zk.ErrNodeExists) || errors.Is(err, zk.ErrBadVersion) || errors.Is(err, zk.ErrNoNode) ||
		errors.Is(explain(err), driver.ErrMisconfigured)
}

// won notes a success. The transaction's zxid and time are those of the group
// node's change and of the lock node's creation.
func (s *store) won(c *claim, t0 time.Time, l link, p proof, group node, doubts uint64, req driver.AcquireRequest) (driver.Grant, error) {
	lock := node{stat: &zk.Stat{Czxid: group.stat.Mzxid}}
	return s.grant(c, t0, l, p, lock, group.stat.Version, time.UnixMilli(group.stat.Mtime), doubts, req)
}

func (s *store) grant(c *claim, t0 time.Time, l link, p proof, lock node, groupVer int32, at time.Time, doubts uint64, req driver.AcquireRequest) (driver.Grant, error) {
	if !s.owned(c, t0, lock, groupVer, l.epoch, doubts) {
		if s.same(l) {
			return driver.Grant{}, driver.ErrResigned // while the attempt was under way
		}
		return driver.Grant{}, errMoved
	}
	return driver.Grant{
		Token:      uint64(lock.stat.Czxid),
		Granted:    min(req.TTL, p.lifetime(l.timeout, t0)),
		AcquiredAt: at,
	}, nil
}

// again answers an attempt whose nonce holds the lock node already: the answer to
// an earlier one was lost.
func (s *store) again(ctx context.Context, t0 time.Time, l link, c *claim, req driver.AcquireRequest) (driver.Grant, error) {
	doubts := s.doubts(c)
	group, lock, err := s.readInOrder(ctx, req.Group)
	if err != nil {
		return driver.Grant{}, err
	}
	if lock.stat == nil || !s.whose(c, l, lock) {
		return driver.Grant{}, fmt.Errorf("zookeeper: %w: the record has just ended", driver.ErrNotApplied)
	}
	proven, p, err := s.fresh(ctx, t0)
	switch {
	case err != nil:
		return driver.Grant{}, err
	case proven.session != l.session:
		return driver.Grant{}, errMoved
	}
	l = proven
	if err := s.heartbeat(ctx, l); err != nil {
		return driver.Grant{}, err
	}
	return s.grant(c, t0, l, p, lock, group.stat.Version, time.UnixMilli(lock.stat.Ctime), doubts, req)
}

// readInOrder reads the group node, then the lock node. If the lock node is ours,
// the version of the group node is one since our acquisition, and a transaction
// on condition of that version cannot touch a later term.
func (s *store) readInOrder(ctx context.Context, group string) (g, lock node, err error) {
	if g, err = s.get(ctx, s.groupPath(group)); err != nil {
		return node{}, node{}, err
	}
	lock, err = s.readFree(ctx, group)
	return g, lock, err
}

// removeOrphan removes a lock node of our session that nobody here stands for,
// and reports whether the attempt should look again. A lock node of another
// session, or of another claim of this process, is left alone.
func (s *store) removeOrphan(ctx context.Context, l link, group string, lock node) (bool, error) {
	if lock.stat.EphemeralOwner != l.session {
		return false, nil
	}
	rec, _ := decodeLock(group, lock.data, lock.stat)
	s.mu.Lock()
	c := s.claims[claimKey{group, rec.Nonce}]
	if lead := s.leading[group]; lead != nil && lead.token == rec.Token {
		c = lead
	}
	if c == nil {
		c = s.newClaim(claimKey{group, rec.Nonce}, l.session)
		c.ending = true
		c.token = rec.Token
		s.claims[c.claimKey] = c
	}
	ending := c.ending
	s.mu.Unlock()
	if !ending {
		return false, nil
	}
	if err := s.remove(ctx, c, false); err != nil && !errors.Is(err, driver.ErrLost) {
		return false, err
	}
	return true, nil
}
