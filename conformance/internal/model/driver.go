package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// lockPatience is how long an attempt waits for somebody's lock.
const lockPatience = 50 * time.Millisecond

// Info is what the model declares.
func Info() driver.Info {
	return driver.Info{
		Name: "model", Target: "memory", MinTTL: 100 * time.Millisecond, ExpiryFactor: 1, RemainingKnown: true,
		PushOnResign: true, PushOnExpiry: true, Calls: 4, Hedge: true, RenewBatch: 50, ReadBatch: 50, AcquireBatch: 50, Connections: 3,
	}
}

// Driver is one client of a Store.
type Driver struct {
	s   *Store
	net *Link

	// Guarded by s.mu.
	closed  bool
	zombie  bool
	grants  map[driver.Nonce]driver.Grant // only bugs look at it
	counter uint64                        // only bugs look at it
	sub     *subscription
}

// Open makes a client.
func (s *Store) Open() *Driver {
	d := &Driver{s: s, net: newLink(), grants: map[driver.Nonce]driver.Grant{}}
	d.net.single = s.is(OneConnection)
	d.net.restored = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.is(ConnectionIsSession) {
			s.free(d)
		}
		if !s.is(WatchDiesOnReconnect) {
			d.reconnected()
		} else if d.sub != nil {
			d.sub.dead = true
		}
	}
	if s.is(LeakGoroutine) {
		go func() { select {} }()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients[d] = true
	return d
}

// Link is the network between this client and the store.
func (d *Driver) Link() *Link { return d.net }

// call carries f to the store and back, unless the driver is closed.
func (d *Driver) call(ctx context.Context, f func() error) error {
	d.s.mu.Lock()
	closed := d.closed && !d.s.is(UseAfterClose)
	d.s.mu.Unlock()
	if closed {
		return driver.ErrClosed
	}
	err := d.net.do(ctx, f)
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if errors.Is(err, errNetwork) && d.closed {
		return driver.ErrClosed
	}
	return err
}

// begin counts the request.
func (d *Driver) begin(ctx context.Context) error {
	d.s.mu.Lock()
	if d.closed && !d.s.is(UseAfterClose) {
		d.s.mu.Unlock()
		return driver.ErrClosed
	}
	d.s.calls++
	if d.s.is(HiddenRequests) {
		d.s.calls += 9
	}
	d.s.mu.Unlock()
	if d.s.is(CancelledIsAbsent) && ctx.Err() != nil {
		return driver.ErrNoLeader
	}
	return ctx.Err()
}

func (s *Store) key(group string) string {
	switch s.bug {
	case FoldCase, NamesOverwrite:
		return strings.ToLower(group)
	case TruncateNames:
		return group[:min(len(group), 64)]
	case FoldPunctuation:
		return strings.ReplaceAll(group, ".", "_")
	}
	return group
}

// describe is what others are told about a live record.
func (s *Store) describe(rec *record, asker string) driver.Record {
	out := rec.Record
	out.Metadata = maps.Clone(rec.Metadata)
	out.Remaining = min(rec.expiry.Sub(s.now()), rec.TTL)
	switch s.bug {
	case HolderIsAsker:
		out.Participant = asker
	case RemainingIsTTL:
		out.Remaining = rec.TTL
	case RemainingTooShort:
		out.Remaining /= 2
	case NoClamp:
		out.Remaining = rec.expiry.Sub(s.now())
	case BeganUnknown:
		out.AcquiredAt = time.Time{}
	}
	return out
}

// Resign implements driver.Driver.
func (d *Driver) Resign(ctx context.Context, t driver.Term) error {
	if d.s.is(CancelledIsLost) && ctx.Err() != nil {
		return driver.ErrLost
	}
	return d.call(ctx, func() error {
		if err := d.begin(ctx); err != nil {
			return err
		}
		if !d.s.waitLock(ctx, t.Group, lockPatience) {
			return fmt.Errorf("%w: the record is locked", driver.ErrNotApplied)
		}
		if d.s.is(WakesTooEarly) {
			d.s.mu.Lock()
			d.s.wake(t.Group)
			d.s.mu.Unlock()
			time.Sleep(20 * time.Millisecond)
		}
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		return d.s.resign(t)
	})
}

func (s *Store) resign(t driver.Term) error {
	rec := s.groups[s.key(t.Group)]
	if s.is(NonceIsGlobal) {
		for _, r := range s.groups {
			if r.Nonce == t.Nonce && s.live(r) {
				rec = r
			}
		}
	}
	mine := rec != nil && !rec.foreign && rec.Nonce == t.Nonce
	switch s.bug {
	case ResignByParticipant:
		mine = rec != nil && rec.Participant == t.Participant
	case ResignByToken:
		mine = rec != nil && rec.Token == t.Token
	case ResignNeedsToken:
		mine = mine && rec.Token == t.Token
	case ResignAlwaysOK:
		if !mine || !s.live(rec) {
			return nil
		}
	case ResignExpiredOK:
		if mine && !s.live(rec) {
			return nil
		}
	case ResignCreates:
		if rec == nil {
			r := &record{expiry: s.now().Add(time.Hour)}
			r.Term, r.TTL = t, time.Hour
			s.groups[s.key(t.Group)] = r
			return driver.ErrLost
		}
	}
	if !mine || !s.live(rec) {
		return driver.ErrLost
	}
	s.gone[rec.Nonce] = true
	if s.is(ResignDoesNotFree) {
		return nil
	}
	rec.last, rec.Nonce, rec.expiry, rec.Metadata = t.Nonce, driver.Nonce{}, time.Time{}, nil
	if s.is(LeaderAfterResign) {
		rec.expiry = s.now().Add(rec.TTL)
	}
	if s.is(ResignResetsToken) {
		delete(s.groups, s.key(t.Group))
	}
	if s.is(WakesTooEarly) {
		return nil
	}
	s.wake(t.Group)
	return nil
}

// Leader implements driver.Driver.
func (d *Driver) Leader(ctx context.Context, group string) (driver.Record, error) {
	var out driver.Record
	err := d.call(ctx, func() error {
		if err := d.begin(ctx); err != nil {
			return err
		}
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		var err error
		out, err = d.s.leader(group)
		return err
	})
	return out, err
}

func (s *Store) leader(group string) (driver.Record, error) {
	rec := s.groups[s.key(group)]
	s.clamp(rec)
	if s.is(NamesOverwrite) && rec != nil && rec.Group != group {
		rec = nil
	}
	switch {
	case s.is(LeaderExpired) && rec != nil && !rec.Nonce.IsZero():
	case s.is(LeaderAfterResign) && rec != nil && s.now().Before(rec.expiry):
	case !s.live(rec) || rec.foreign:
		return driver.Record{}, driver.ErrNoLeader
	}
	return s.describe(rec, rec.Participant), nil
}

// Close implements driver.Driver.
func (d *Driver) Close() error {
	d.s.mu.Lock()
	if d.closed && d.s.is(CloseTwiceFails) {
		d.s.mu.Unlock()
		return errors.New("model: already closed")
	}
	if !d.closed && d.s.is(CloseResignsOthers) {
		for _, mine := range d.s.groups {
			for _, rec := range d.s.groups {
				if mine.client == d && rec.Participant == mine.Participant {
					rec.Nonce = driver.Nonce{}
				}
			}
		}
	}
	d.closed = true
	delete(d.s.clients, d)
	sub := d.sub
	d.s.mu.Unlock()
	if sub != nil && !d.s.is(PushAfterClose) {
		_ = sub.Close()
	}
	if !d.s.is(UseAfterClose) {
		d.net.Cut()
	}
	if d.s.is(CloseWaits) {
		time.Sleep(10 * time.Second)
	}
	return nil
}

// Ping implements driver.Pinger.
func (d *Driver) Ping(ctx context.Context) error {
	err := d.call(ctx, func() error { return d.begin(ctx) })
	if d.s.is(PingAlwaysOK) && !errors.Is(err, driver.ErrClosed) {
		return nil
	}
	return err
}

// waitLock waits until nobody holds the record of group.
func (s *Store) waitLock(ctx context.Context, group string, patience time.Duration) bool {
	if s.is(AcquireWaitsForLock) {
		patience = time.Hour
	}
	s.mu.Lock()
	c := s.unlock[s.key(group)]
	s.mu.Unlock()
	if c == nil {
		return true
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

func (s *Store) waitFree(ctx context.Context, group string) {
	for ctx.Err() == nil {
		s.mu.Lock()
		free := !s.live(s.groups[s.key(group)])
		s.mu.Unlock()
		if free {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func mangle(m map[string]string) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[strings.ToLower(k)] = strings.TrimSpace(v)
	}
	return out
}
