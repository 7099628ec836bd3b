package model

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Acquire implements driver.Driver.
func (d *Driver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	var g driver.Grant
	err := d.call(ctx, func() error {
		var err error
		g, err = d.acquire(ctx, req)
		return err
	})
	return g, err
}

func (d *Driver) acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	if err := d.begin(ctx); err != nil {
		return driver.Grant{}, err
	}
	s := d.s
	if !s.waitLock(ctx, req.Group, lockPatience) {
		return driver.Grant{}, fmt.Errorf("%w: the record is locked", driver.ErrNotApplied)
	}
	if s.is(WaitForHolder) {
		s.waitFree(ctx, req.Group)
	}
	if s.is(CheckThenAct) || s.is(ExpiryBeforeClock) {
		s.mu.Lock()
		rec := s.groups[s.key(req.Group)]
		var before time.Time
		if rec != nil {
			before = rec.expiry
		}
		free := !s.live(rec)
		s.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.is(ExpiryBeforeClock) { // the expiry read before is compared with the clock read now
			free = free && rec == s.groups[s.key(req.Group)] || rec != nil && !rec.Nonce.IsZero() && before.Before(s.now())
		}
		if free && s.groups[s.key(req.Group)] != nil {
			s.groups[s.key(req.Group)].Nonce = driver.Nonce{}
		}
		return s.decide(d, req)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.decide(d, req)
}

// decide is the one atomic step of an Acquire. The caller holds mu.
func (s *Store) decide(d *Driver, req driver.AcquireRequest) (driver.Grant, error) {
	key := s.key(req.Group)
	rec := s.groups[key]
	if rec == nil {
		rec = &record{}
		rec.Group = req.Group
		s.groups[key] = rec
	}
	s.clamp(rec)
	now := s.now()
	if s.is(NamesOverwrite) && rec.Group != req.Group {
		rec.Nonce = driver.Nonce{}
	}
	if s.is(GrantFromMemory) {
		if g, ok := d.grants[req.Nonce]; ok && !s.live(rec) {
			rec.Nonce, rec.Participant, rec.expiry, rec.TTL, rec.Token = req.Nonce, req.Participant, now.Add(req.TTL), req.TTL, g.Token
			return g, nil
		}
	}
	if g, ok := d.grants[req.Nonce]; ok && s.is(LateWriteRewinds) && rec.Nonce != req.Nonce {
		rec.Token = g.Token
	}
	if req.Nonce == rec.last && !s.is(ForgetResigned) {
		return driver.Grant{}, driver.ErrResigned
	}
	mine := rec.Nonce == req.Nonce || s.is(ParticipantOwns) && rec.Participant == req.Participant || s.is(SessionOwns) && rec.client == d
	switch {
	case rec.foreign && now.Before(rec.expiry) && !s.is(RenewRepairs):
		return driver.Grant{}, &driver.HeldError{Record: driver.Record{Term: driver.Term{Group: req.Group}, Remaining: rec.expiry.Sub(now), TTL: rec.TTL}}
	case mine && (s.live(rec) || s.is(ExpiredIsMine) && !rec.Nonce.IsZero()):
		return s.again(d, rec, req, now)
	case s.live(rec):
		return driver.Grant{}, &driver.HeldError{Record: s.describe(rec, req.Participant)}
	}
	token := s.mint(rec.Token)
	switch {
	case s.is(TokenPerClient):
		d.counter++
		token = d.counter
	case s.is(TokenPerParticipant) && rec.Participant == req.Participant && rec.Token > 0:
		token = rec.Token
	}
	began := now
	if s.is(BeganStays) && !rec.AcquiredAt.IsZero() {
		began = rec.AcquiredAt
	}
	s.gone[rec.Nonce] = true
	rec.foreign, rec.client = false, d
	rec.Term = driver.Term{Group: req.Group, Participant: req.Participant, Token: token, Nonce: req.Nonce}
	if s.is(LeaderTokenStale) {
		rec.Token = token - 1
	}
	if req.Metadata != nil || !s.is(MetadataStays) {
		rec.Metadata = maps.Clone(req.Metadata)
	}
	if s.is(KeepsMap) {
		rec.Metadata = req.Metadata
	}
	if s.is(MetadataMangled) {
		rec.Metadata = mangle(req.Metadata)
	}
	rec.AcquiredAt, rec.TTL, rec.expiry = began, req.TTL, now.Add(req.TTL)
	granted := req.TTL
	switch s.bug {
	case ExpiresEarly:
		rec.expiry = now.Add(req.TTL * 8 / 10)
	case ExpiresLate:
		rec.expiry = now.Add(req.TTL * 10)
	case GrantsMore:
		granted += granted / 10
	}
	s.sweepLater(req.Group, req.TTL)
	g := driver.Grant{Token: token, Granted: granted, AcquiredAt: rec.AcquiredAt}
	d.grants[req.Nonce] = g
	return g, nil
}

// again answers an attempt that finds its own live term.
func (s *Store) again(d *Driver, rec *record, req driver.AcquireRequest, now time.Time) (driver.Grant, error) {
	if until := now.Add(req.TTL); until.After(rec.expiry) && !s.is(RetryDoesNotExtend) && !s.is(RetryKeepsExpiry) {
		rec.expiry = until
	}
	if s.is(RetryNewToken) {
		rec.Token = s.mint(rec.Token)
	}
	if s.is(RetryNewBegin) {
		rec.AcquiredAt = now
	}
	rec.Nonce = req.Nonce
	rec.TTL = req.TTL
	granted := min(rec.expiry.Sub(now), req.TTL)
	if s.is(RetryDoesNotExtend) || s.is(ExpiredIsMine) {
		granted = req.TTL
		if s.is(ExpiredIsMine) {
			rec.expiry = now.Add(req.TTL)
		}
	}
	return driver.Grant{Token: rec.Token, Granted: granted, AcquiredAt: rec.AcquiredAt}, nil
}
