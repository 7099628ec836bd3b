package azblob

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// tries is how often a write is repeated when somebody else's write came between
// reading and writing. Only a duplicate of an own request can do that under the
// lease.
const tries = 4

// Acquire implements driver.Driver.
func (d *azblobDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (grant driver.Grant, err error) {
	err = d.call(ctx, func(ctx context.Context) error {
		grant, err = d.acquire(ctx, req)
		return err
	})
	return grant, err
}

// acquire takes the lease, reads the record, and writes the new term into it. The
// term begins with that write; until then a crash leaves a lease without a term,
// which expires.
func (d *azblobDriver) acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	g, k := d.group(req.Group), termKey{req.Group, req.Nonce}
	live := d.terms.surelyLive(k)
	seconds, first := d.terms.attempt(k, int32(req.TTL/time.Second))
	if !first {
		// Sent before, without an answer. It is asked first whether that won, because
		// asking extends nothing: a participant whose requests arrive while their
		// answers do not would else keep a lease for ever that nobody uses.
		switch _, err := g.read(ctx, req.Nonce); {
		case err == nil:
			live = true
		case !isLost(err):
			return driver.Grant{}, err
		}
	}
	sent, err := d.take(ctx, g, req.Nonce, seconds)
	switch {
	case isHeld(err):
		d.terms.forget(k)
		return driver.Grant{}, held(req.Group)
	case err != nil:
		if first && isDial(err) {
			d.terms.forget(k)
			err = fmt.Errorf("%w: %w", driver.ErrNotApplied, redact(err))
		}
		return driver.Grant{}, err
	}
	for range tries {
		s, err := g.read(ctx, req.Nonce)
		if isLost(err) {
			d.terms.forget(k)
			return driver.Grant{}, held(req.Group)
		}
		if err != nil {
			return driver.Grant{}, err
		}
		if s.rec.Resigned == req.Nonce.String() {
			return driver.Grant{}, d.giveBack(ctx, g, k, driver.ErrResigned)
		}
		// A record of our own is that of this term, unless its lease may have expired
		// in between: then nobody was told of it, or its end is known.
		if s.rec.Nonce == req.Nonce.String() && live {
			d.terms.put(k, seconds, s.etag, s.rec)
			return d.granted(k, s.rec, req.TTL, sent)
		}
		token, at, err := s.rec.next(s.date, time.Now())
		if err != nil {
			return driver.Grant{}, d.giveBack(ctx, g, k, err)
		}
		rec := record{
			Version: recordVersion, Token: token, Nonce: req.Nonce.String(), Participant: req.Participant,
			AcquiredAt: at.UnixMicro(), TTL: int64(seconds) * 1000, Resigned: s.rec.Resigned, Metadata: req.Metadata,
		}
		etag, err := g.write(ctx, req.Nonce, s.etag, s.rec.Content, rec)
		switch {
		case err == nil:
			rec.Content = contentOf(rec)
			d.terms.put(k, seconds, etag, rec)
			return d.granted(k, rec, req.TTL, sent)
		case isChanged(err):
			live = true // by an earlier send of this attempt, so the record is this term's
		case isLost(err):
			d.terms.forget(k)
			return driver.Grant{}, held(req.Group)
		default:
			return driver.Grant{}, err
		}
	}
	return driver.Grant{}, d.giveBack(ctx, g, k, held(req.Group))
}

// take acquires the lease, making what is missing, and returns when the request
// that succeeded was sent.
func (d *azblobDriver) take(ctx context.Context, g groupBlob, n driver.Nonce, seconds int32) (time.Time, error) {
	for i := 0; ; i++ {
		sent := time.Now()
		err := g.acquire(ctx, n, seconds)
		if err == nil || !isMissing(err) {
			return sent, err
		}
		if i > 0 {
			return sent, errVanished
		}
		if err := g.create(ctx, d.autoCreate); isMissing(err) && !d.misses(err) {
			return sent, errVanished
		} else if err != nil {
			return sent, err
		}
	}
}

var errVanished = errors.New("azblob: the blob or its container was deleted right after it had been made")

// granted reports a success. The lease began when its request was executed, two
// requests ago, so what is granted now is less by the time since it was sent.
func (d *azblobDriver) granted(k termKey, r record, ttl time.Duration, sent time.Time) (driver.Grant, error) {
	d.terms.extended(k, sent)
	left := ttl - since(sent)
	if left <= 0 {
		return driver.Grant{}, errSlow
	}
	return driver.Grant{Token: r.Token, Granted: left, AcquiredAt: time.UnixMicro(r.AcquiredAt)}, nil
}

var errSlow = fmt.Errorf("azblob: the lease had run out before its term was written: %w", context.DeadlineExceeded)

// giveBack releases a lease that is not wanted, and returns why. If that fails it
// expires.
func (d *azblobDriver) giveBack(ctx context.Context, g groupBlob, k termKey, why error) error {
	d.terms.forget(k)
	_ = g.release(ctx, k.nonce)
	return why
}

func held(group string) error {
	return &driver.HeldError{Record: driver.Record{Term: driver.Term{Group: group}, Remaining: driver.RemainingUnknown}}
}

// contentOf reports whether the metadata of r is kept in the content.
func contentOf(r record) bool {
	_, content, err := r.encode()
	return err == nil && content != nil
}

// renew extends the lease by one request if this process knows the record, and
// writes metadata that is given by a second one.
func (d *azblobDriver) renew(ctx context.Context, req driver.RenewRequest) (time.Duration, error) {
	g, k := d.group(req.Term.Group), termKey{req.Term.Group, req.Term.Nonce}
	for range tries {
		t, ok, err := d.known(ctx, g, k, driver.Nonce{})
		if err != nil {
			return 0, err
		}
		if !ok {
			d.terms.forget(k)
			return 0, driver.ErrLost
		}
		sent := time.Now()
		err = g.renew(ctx, k.nonce, t.etag)
		if err == nil {
			d.terms.extended(k, sent)
			granted := min(req.TTL, time.Duration(t.seconds)*time.Second)
			if req.Metadata == nil {
				return granted, nil
			}
			rec := t.rec
			rec.Metadata, rec.Content = req.Metadata, false
			etag, werr := g.write(ctx, k.nonce, t.etag, t.rec.Content, rec)
			if werr == nil {
				rec.Content = contentOf(rec)
				d.terms.put(k, t.seconds, etag, rec)
				if granted -= since(sent); granted <= 0 {
					return 0, errSlow
				}
				return granted, nil
			}
			err = werr
		}
		switch {
		case isChanged(err):
			d.terms.stale(k) // by our own metadata, or by somebody else: read whose it is
		case isLost(err):
			d.terms.forget(k)
			return 0, driver.ErrLost
		default:
			return 0, err
		}
	}
	return 0, errMoved
}

var errMoved = errors.New("azblob: the record was written again and again while it was read")

// known returns the record of a term, from memory or by a request under the lease
// of n, unless that is zero. It is false if the record is not of that term.
func (d *azblobDriver) known(ctx context.Context, g groupBlob, k termKey, n driver.Nonce) (term, bool, error) {
	if t, ok := d.terms.get(k); ok {
		return t, true, nil
	}
	s, err := g.read(ctx, n)
	if isLost(err) || err == nil && s.rec.Nonce != k.nonce.String() {
		return term{}, false, nil
	}
	if err != nil {
		return term{}, false, err
	}
	seconds := int32(min(max(time.Duration(s.rec.TTL)*time.Millisecond, 0), maxLease) / time.Second)
	d.terms.put(k, seconds, s.etag, s.rec)
	t, ok := d.terms.get(k)
	return t, ok, nil
}

// Resign implements driver.Driver.
func (d *azblobDriver) Resign(ctx context.Context, t driver.Term) error {
	return d.call(ctx, func(ctx context.Context) error { return d.resign(ctx, t) })
}

// resign empties the record and then releases the lease: the other way round,
// somebody else's record could be emptied, or a resigned term be told.
func (d *azblobDriver) resign(ctx context.Context, t driver.Term) error {
	g, k := d.group(t.Group), termKey{t.Group, t.Nonce}
	for range tries {
		var s state
		if x, ok := d.terms.get(k); ok {
			s = state{rec: x.rec, etag: x.etag}
		} else {
			// Also a lease without a record is given up: its Acquire was not answered.
			var err error
			if s, err = g.read(ctx, k.nonce); isLost(err) {
				d.terms.forget(k)
				return driver.ErrLost
			} else if err != nil {
				return err
			}
		}
		if s.rec.Resigned != k.nonce.String() {
			_, err := g.write(ctx, k.nonce, s.etag, s.rec.Content, record{Version: recordVersion, Token: s.rec.Token, Resigned: k.nonce.String()})
			switch {
			case isChanged(err):
				d.terms.stale(k)
				continue
			case isLost(err):
				d.terms.forget(k)
				return driver.ErrLost
			case err != nil:
				d.terms.stale(k) // it may have been executed
				return err
			}
			d.terms.stale(k)
		}
		if err := g.release(ctx, k.nonce); err != nil && !isLost(err) {
			return err
		}
		d.terms.forget(k)
		return nil
	}
	return errMoved
}
