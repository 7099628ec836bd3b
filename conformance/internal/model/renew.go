package model

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

var errLocked = errors.New("model: the record is locked")

// Renew implements driver.Driver.
func (d *Driver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	var results []driver.RenewResult
	err := d.call(ctx, func() error {
		if err := d.begin(ctx); err != nil {
			return err
		}
		if d.s.is(RequestPerTerm) {
			d.s.mu.Lock()
			d.s.calls += int64(len(reqs) - 1)
			d.s.mu.Unlock()
		}
		if len(reqs) > 1 && d.s.is(BatchOnce) {
			d.s.mu.Lock()
			first := reqs[0].Term.Nonce
			again := d.s.gone[first]
			d.s.gone[first] = true
			d.s.mu.Unlock()
			if again {
				return driver.ErrLost
			}
		}
		if len(reqs) > 40 && d.s.is(SmallBatches) {
			return errors.New("model: the batch is too large")
		}
		if len(reqs) > 1 && d.s.is(BatchesDeadlock) {
			if err := d.s.lockAll(ctx, reqs); err != nil {
				return err
			}
			defer d.s.unlockAll(reqs)
		}
		start := d.s.clock()
		for i, q := range reqs {
			results = append(results, d.renew(ctx, i, q, start))
		}
		return nil
	})
	if d.s.is(BatchIsOne) {
		for _, r := range results {
			if r.Err != nil {
				err = r.Err
			}
		}
	}
	if err != nil {
		for i := range reqs {
			report(driver.RenewResult{Index: i, Err: err})
		}
		return
	}
	for _, r := range results {
		report(r)
	}
}

func (s *Store) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// renew extends one term. start is when the statement began, which is what a
// naive statement takes for now.
func (d *Driver) renew(ctx context.Context, i int, q driver.RenewRequest, start time.Time) driver.RenewResult {
	s := d.s
	if s.is(RenewWaitsForLock) || s.is(RenewOldClock) {
		s.waitLock(ctx, q.Term.Group, time.Hour)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := driver.RenewResult{Index: i}
	key := s.key(q.Term.Group)
	if s.unlock[key] != nil {
		out.Err = errLocked
		return out
	}
	rec := s.groups[key]
	if s.is(SessionOrphan) {
		for _, r := range s.groups {
			if r.client == d && s.live(r) {
				r.expiry = s.now().Add(r.TTL)
			}
		}
	}
	if s.is(NonceIsGlobal) {
		for _, r := range s.groups {
			if r.Nonce == q.Term.Nonce && s.live(r) {
				rec = r
			}
		}
	}
	now := s.now()
	s.clamp(rec)
	if s.renewAnyway(d, rec, q) {
		out.Granted = q.TTL
		return out
	}
	mine := rec != nil && rec.Nonce == q.Term.Nonce && (!rec.foreign || s.is(RenewRepairs))
	if s.is(RenewByParticipant) {
		mine = rec != nil && rec.Participant == q.Term.Participant
	}
	if !mine || !s.live(rec) && !(s.is(RenewExpired) && !rec.Nonce.IsZero()) {
		out.Err = driver.ErrLost
		return out
	}
	rec.foreign = false
	until := now.Add(q.TTL)
	if s.is(RenewOldClock) {
		until = start.Add(q.TTL)
	}
	switch {
	case s.is(RenewDoesNothing):
	case until.After(rec.expiry) || s.is(RenewShortens) || s.is(RenewOldClock):
		// The stored TTL goes with the expiry, or the clamp would shorten it.
		rec.expiry, rec.TTL = until, q.TTL
	}
	s.sweepLater(q.Term.Group, q.TTL)
	if s.is(RenewGrantsMore) {
		rec.expiry = now.Add(q.TTL * 8 / 10)
		out.Granted = q.TTL
		return out
	}
	if s.is(ExpiresLate) {
		rec.expiry = now.Add(10 * q.TTL)
	}
	if q.Metadata != nil || s.is(RenewClearsMetadata) {
		rec.Metadata = maps.Clone(q.Metadata)
		if s.is(MetadataChangesToken) {
			rec.Token++
		}
	}
	out.Granted = min(max(rec.expiry.Sub(now), 1), q.TTL)
	if s.is(RenewDoesNothing) {
		out.Granted = q.TTL
	}
	if s.is(SaysLostOfLive) {
		d.lost(rec.Group, rec.Nonce)
	}
	return out
}

// renewAnyway is the bugs that renew what must not be renewed.
func (s *Store) renewAnyway(d *Driver, rec *record, q driver.RenewRequest) bool {
	claim := func() bool {
		if rec == nil {
			rec = &record{}
			s.groups[s.key(q.Term.Group)] = rec
		}
		rec.Term, rec.TTL, rec.expiry, rec.client = q.Term, q.TTL, s.now().Add(q.TTL), d
		return true
	}
	switch s.bug {
	case RenewUpserts:
		return !s.live(rec) && claim()
	case RenewRevives:
		return rec != nil && rec.last == q.Term.Nonce && rec.Nonce.IsZero() && claim()
	case RenewAfterOthers:
		return rec != nil && !s.live(rec) && s.gone[q.Term.Nonce] && rec.last != q.Term.Nonce && claim()
	case RenewSessionOnly:
		return rec == nil || rec.Nonce != q.Term.Nonce && rec.last != q.Term.Nonce && d.grants[q.Term.Nonce].Token > 0
	}
	return d.zombie
}

// Leaders implements driver.BatchReader.
func (d *Driver) Leaders(ctx context.Context, groups []string, report func(string, driver.Record, error)) {
	err := d.call(ctx, func() error { return d.begin(ctx) })
	for i, g := range groups {
		if err != nil {
			report(g, driver.Record{}, err)
			continue
		}
		d.s.mu.Lock()
		rec, e := d.s.leader(g)
		if r := d.s.groups[d.s.key(g)]; d.s.is(BatchReadExpired) && r != nil && !r.Nonce.IsZero() {
			rec, e = d.s.describe(r, r.Participant), nil
		}
		d.s.mu.Unlock()
		if d.s.is(BatchReadGaps) && i == len(groups)-1 {
			return
		}
		report(g, rec, e)
	}
}

// AcquireBatch implements driver.BatchAcquirer.
func (d *Driver) AcquireBatch(ctx context.Context, reqs []driver.AcquireRequest, report func(int, driver.Grant, error)) {
	grants, errs := make([]driver.Grant, len(reqs)), make([]error, len(reqs))
	err := d.call(ctx, func() error {
		if err := d.begin(ctx); err != nil {
			return err
		}
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		free := map[string]bool{}
		for _, q := range reqs {
			free[q.Group] = !d.s.live(d.s.groups[d.s.key(q.Group)])
		}
		for i, q := range reqs {
			if d.s.is(BatchAcquireStale) && free[q.Group] && d.s.groups[d.s.key(q.Group)] != nil {
				d.s.groups[d.s.key(q.Group)].Nonce = driver.Nonce{}
			}
			if r := d.s.groups[d.s.key(q.Group)]; d.s.is(BatchForgetsResigned) && r != nil {
				r.last = driver.Nonce{}
			}
			grants[i], errs[i] = d.s.decide(d, q)
		}
		return nil
	})
	for i := range reqs {
		if err != nil {
			report(i, driver.Grant{}, err)
		} else {
			report(i, grants[i], errs[i])
		}
	}
}

// lockAll takes the locks of a batch one after the other and holds what it has,
// as a careless transaction does.
func (s *Store) lockAll(ctx context.Context, reqs []driver.RenewRequest) error {
	for i, q := range reqs {
		for {
			s.mu.Lock()
			c := s.unlock["batch/"+q.Term.Group]
			if c == nil {
				s.unlock["batch/"+q.Term.Group] = make(chan struct{})
				s.mu.Unlock()
				break
			}
			s.mu.Unlock()
			select {
			case <-c:
			case <-ctx.Done():
				s.unlockAll(reqs[:i])
				return ctx.Err()
			}
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (s *Store) unlockAll(reqs []driver.RenewRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range reqs {
		if c := s.unlock["batch/"+q.Term.Group]; c != nil {
			delete(s.unlock, "batch/"+q.Term.Group)
			close(c)
		}
	}
}
