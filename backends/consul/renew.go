package consul

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// Renew implements driver.Driver. Per session it sends one renewal and then
// confirms the keys, up to 128 in a transaction that only reads. Both execute
// after the renewal began: the session was alive when the keys were read, and
// should it be destroyed afterwards, the lock-delay counts from then.
func (s *store) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	start := time.Now()
	ctx, cancel := s.bind(ctx)
	defer cancel()
	bySession := make(map[*session][]renewal)
	var strangers []int
	s.mu.Lock()
	closed := s.closed
	var over []int
	for i, r := range reqs {
		c := s.find(r.Term.Group, r.Term.Nonce)
		switch {
		case c == nil:
			strangers = append(strangers, i)
		case c.over || !c.expires.After(start):
			over = append(over, i)
		default:
			bySession[c.sess] = append(bySession[c.sess], renewal{i: i, req: r, c: c, index: c.index})
		}
	}
	s.mu.Unlock()
	if closed {
		for i := range reqs {
			report(driver.RenewResult{Index: i, Err: driver.ErrClosed})
		}
		return
	}
	for _, i := range over { // too late: the settler gives the key up
		report(driver.RenewResult{Index: i, Err: driver.ErrLost})
	}
	var wg sync.WaitGroup
	for sess, batch := range bySession {
		wg.Go(func() { s.renewSession(ctx, sess, start, batch, report) })
	}
	s.renewStrangers(ctx, reqs, strangers, report)
	wg.Wait()
}

// renewal is one entry of a batch.
type renewal struct {
	i     int
	req   driver.RenewRequest
	c     *claim
	index uint64 // at which the record was last seen to be ours
}

func (s *store) renewSession(ctx context.Context, sess *session, start time.Time, batch []renewal, report func(driver.RenewResult)) {
	err := s.prolong(ctx, sess)
	if err != nil {
		if errors.Is(err, errSession) {
			err = driver.ErrLost
		}
		for _, r := range batch {
			report(driver.RenewResult{Index: r.i, Err: err})
		}
		return
	}
	answer := func(r renewal, index uint64, err error) {
		res := driver.RenewResult{Index: r.i, Err: err}
		if err == nil {
			res.Granted = min(r.req.TTL, sess.ttl)
			if !s.renewed(r.c, start, res.Granted, index) {
				res.Granted, res.Err = 0, driver.ErrLost
			}
		}
		report(res)
	}
	var changes []renewal
	var plain []renewal
	for _, r := range batch {
		if r.req.Metadata != nil {
			changes = append(changes, r)
		} else {
			plain = append(plain, r)
		}
	}
	for len(plain) > 0 {
		n := min(len(plain), txnOps)
		s.confirm(ctx, plain[:n], answer)
		plain = plain[n:]
	}
	for _, r := range changes {
		index, err := s.change(ctx, r)
		answer(r, index, err)
	}
}

// confirm checks that the records of a batch are unchanged. An index that has
// not moved proves it without the values being sent; only what has moved is read.
// Nothing follows for the others from a transaction that failed: the server looks
// at no index at all where it refuses one of them, as for want of a permission. So
// the rest is asked about again, until nothing fails.
func (s *store) confirm(ctx context.Context, batch []renewal, answer func(renewal, uint64, error)) {
	var moved []renewal
	for len(batch) > 0 {
		ops := make([]*api.KVTxnOp, len(batch))
		for i, r := range batch {
			ops[i] = &api.KVTxnOp{Verb: api.KVCheckIndex, Key: s.key(r.req.Term.Group), Index: r.index}
		}
		resp, err := s.txn(ctx, ops, &api.QueryOptions{RequireConsistent: true})
		if err == nil && len(resp.Errors) == 0 {
			for _, r := range batch {
				answer(r, r.index, nil)
			}
			break
		}
		var failed, rest []renewal
		for i, r := range batch {
			if err == nil && slices.ContainsFunc(resp.Errors, func(e *api.TxnError) bool { return e.OpIndex == i }) {
				failed = append(failed, r)
			} else {
				rest = append(rest, r)
			}
		}
		if len(failed) == 0 {
			for _, r := range rest {
				answer(r, 0, cmp.Or(err, errUnexpected))
			}
			break
		}
		moved, batch = append(moved, failed...), rest
	}
	for _, r := range moved {
		p, err := s.own(ctx, r)
		if err != nil {
			answer(r, 0, err)
		} else {
			answer(r, p.ModifyIndex, nil)
		}
	}
}

// own reads the record of a term, which is lost if the record is not its own.
func (s *store) own(ctx context.Context, r renewal) (*api.KVPair, error) {
	p, err := s.read(ctx, r.req.Term.Group)
	if err != nil {
		return nil, err
	}
	rec := decode(p)
	if locked(p) && p.Session == r.c.sess.id && rec.Nonce == r.c.nonce.String() {
		return p, nil
	}
	s.lose(r.c)
	s.reportOrphan(r.c.group, p, rec) // somebody wrote over it; the lock is still ours
	return nil, driver.ErrLost
}

// change replaces the metadata of a term, and returns the key's new index. A
// write that is refused is settled by reading again: a duplicate of an earlier
// write of ours is no loss.
func (s *store) change(ctx context.Context, r renewal) (uint64, error) {
	for range rounds {
		p, err := s.own(ctx, r)
		if err != nil {
			return 0, err
		}
		rec := decode(p)
		rec.Token, rec.Metadata = rec.token(p), r.req.Metadata
		key := s.key(r.c.group)
		out, err := s.apply(ctx, []*api.KVTxnOp{
			{Verb: api.KVCheckSession, Key: key, Session: p.Session},
			{Verb: api.KVCAS, Key: key, Index: p.ModifyIndex, Value: rec.encode(), Flags: recordFlags},
		})
		if err != nil {
			return 0, err
		}
		err = rolledBack(out)
		if err == nil {
			return max(p.ModifyIndex, out.index(key)), nil
		}
		if !errors.Is(err, errConflict) {
			return 0, err
		}
	}
	return 0, errConflict
}

// renewStrangers answers for terms that nobody acquired through this driver. It
// cannot extend them, and calls lost only what certainly is.
func (s *store) renewStrangers(ctx context.Context, reqs []driver.RenewRequest, which []int, report func(driver.RenewResult)) {
	if len(which) == 0 {
		return
	}
	byGroup := make(map[string][]int)
	var groups []string
	for _, i := range which {
		g := reqs[i].Term.Group
		if byGroup[g] == nil {
			groups = append(groups, g)
		}
		byGroup[g] = append(byGroup[g], i)
	}
	s.readMany(ctx, groups, &api.QueryOptions{RequireConsistent: true}, func(g string, p *api.KVPair, err error) {
		for _, i := range byGroup[g] {
			res := driver.RenewResult{Index: i, Err: driver.ErrLost}
			switch {
			case err != nil:
				res.Err = err
			case locked(p) && decode(p).Nonce == reqs[i].Term.Nonce.String():
				res.Err = errElsewhere
			}
			report(res)
		}
	})
}
