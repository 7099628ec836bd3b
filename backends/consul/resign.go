package consul

import (
	"context"
	"errors"
	"fmt"
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
	err := s.resign(ctx, t)
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

func (s *store) resign(ctx context.Context, t driver.Term) error {
	for range rounds {
		p, bell, err := s.readWithBell(ctx, t.Group)
		if err != nil {
			return err
		}
		if !locked(p) || decode(p).Nonce != t.Nonce.String() {
			return driver.ErrLost
		}
		err = s.releaseWithBell(ctx, t.Group, p, bell, record{Ended: t.Nonce.String()})
		if !errors.Is(err, errConflict) {
			return err
		}
	}
	return errConflict
}

// release frees a locked key and leaves after in it.
func (s *store) release(ctx context.Context, group string, p *api.KVPair, after record) error {
	_, bell, err := s.readWithBell(ctx, group)
	if err != nil {
		return err
	}
	return s.releaseWithBell(ctx, group, p, bell, after)
}

// releaseWithBell frees the key if it is still as p shows it, and rings for
// those who follow the group without a watch of its own.
func (s *store) releaseWithBell(ctx context.Context, group string, p *api.KVPair, bell uint64, after record) error {
	key, bellKey := s.key(group), s.bellKey(bellOf(group))
	release := []*api.KVTxnOp{
		{Verb: api.KVCheckSession, Key: key, Session: p.Session},
		{Verb: api.KVCheckIndex, Key: key, Index: p.ModifyIndex},
		{Verb: api.KVUnlock, Key: key, Session: p.Session, Value: after.encode(), Flags: recordFlags},
	}
	// A listener takes Prev for a proof that it missed nothing, so it must be true.
	check := &api.KVTxnOp{Verb: api.KVCheckIndex, Key: bellKey, Index: bell}
	if bell == 0 {
		check = &api.KVTxnOp{Verb: api.KVCheckNotExists, Key: bellKey}
	}
	rings := func(prev uint64) *api.KVTxnOp {
		return &api.KVTxnOp{Verb: api.KVSet, Key: bellKey, Value: ring{Group: group, Prev: prev}.encode(), Flags: recordFlags}
	}
	resp, err := s.txn(ctx, append(slices.Clone(release), check, rings(bell)), &api.QueryOptions{})
	if err != nil {
		return err
	}
	if len(resp.Errors) == 1 && resp.Errors[0].OpIndex == len(release) {
		// Somebody else rang meanwhile. Without a Prev everybody looks by themselves.
		resp, err = s.txn(ctx, append(release, rings(0)), &api.QueryOptions{})
		if err != nil {
			return err
		}
	}
	return rolledBack(resp)
}

// readWithBell reads the key of a group and the index of its doorbell.
func (s *store) readWithBell(ctx context.Context, group string) (p *api.KVPair, bell uint64, err error) {
	key, bellKey := s.key(group), s.bellKey(bellOf(group))
	resp, err := s.txn(ctx, []*api.KVTxnOp{
		{Verb: api.KVGetOrEmpty, Key: key},
		{Verb: api.KVGetOrEmpty, Key: bellKey},
	}, &api.QueryOptions{RequireConsistent: true})
	if err != nil {
		return nil, 0, err
	}
	if len(resp.Errors) > 0 {
		return nil, 0, classify(fmt.Errorf("%w: %s", errUnexpected, resp.Errors[0].What))
	}
	seen := false
	for _, r := range resp.Results {
		switch {
		case r.KV == nil:
		case r.KV.Key == bellKey:
			bell = r.KV.ModifyIndex
		case r.KV.Key == key:
			seen = true
			if r.KV.ModifyIndex != 0 {
				p = r.KV
			}
		}
	}
	if !seen { // an ACL drops entries without a word
		return nil, 0, driver.Misconfigured(errFiltered, "the ACL token needs key:write below KeyPrefix")
	}
	return p, bell, nil
}
