package memory

import (
	"maps"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Store is an in-process store that backends share. Its methods may be called
// concurrently.
type Store struct {
	mu        sync.Mutex
	now       func() time.Duration
	epoch     time.Time // the wall time of now() == 0, for tokens and people
	groups    map[string]*group
	sinks     map[*subscription]struct{}
	intercept Interceptor
}

// group is all that is kept of an election; it is never deleted, so that the
// token survives.
type group struct {
	rec          driver.Record // of the last term; live while until is ahead
	until        time.Duration
	token        uint64
	lastResigned driver.Nonce
	locked       int
}

// NewStore returns an empty store on the process's monotonic clock.
func NewStore() *Store {
	epoch := time.Now()
	return &Store{
		now: func() time.Duration { return time.Since(epoch) }, epoch: epoch,
		groups: make(map[string]*group), sinks: make(map[*subscription]struct{}),
	}
}

// SetClock makes now, a time since an arbitrary moment, the clock that judges
// expiry. It is called with the store locked. Tests drive failovers with it.
func (s *Store) SetClock(now func() time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.epoch = s.epoch.Add(s.now() - now())
	s.now = now
}

// StepClock steps the clock that judges expiry by d, as an administrator might
// step a server's clock.
func (s *Store) StepClock(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now
	s.now = func() time.Duration { return now() + d }
}

// Remove deletes everything about a group, as somebody with access to the store
// could.
func (s *Store) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, name)
}

// Clear deletes everything.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.groups)
}

// SetToken makes token the last one given in a group.
func (s *Store) SetToken(name string, token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group(name)
	g.token, g.rec.Token = token, token
}

// Age moves what is known of a group into the past, as if the store had been idle
// for d.
func (s *Store) Age(name string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group(name)
	g.until -= d
	g.rec.AcquiredAt = g.rec.AcquiredAt.Add(-d)
	if us := uint64(d / time.Microsecond); g.token > us {
		g.token -= us
		g.rec.Token = g.token
	}
}

// Lock holds the record of a group as a user's transaction would hold a row: until
// unlock is called attempts and renewals find it locked and change nothing.
func (s *Store) Lock(name string) (unlock func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group(name)
	g.locked++
	var once sync.Once
	return func() {
		once.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			g.locked--
		})
	}
}

// Snapshot copies the store's data; restore puts the copy back.
func (s *Store) Snapshot() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	saved := make(map[string]group, len(s.groups))
	for name, g := range s.groups {
		saved[name] = *g
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		clear(s.groups)
		for name, g := range saved {
			s.groups[name] = &g
		}
	}
}

func (s *Store) group(name string) *group {
	g := s.groups[name]
	if g == nil {
		g = &group{}
		s.groups[name] = g
	}
	return g
}

// live reports whether g holds a live term, and clamps one that seems to live
// longer than it was asked for: the clock was stepped back.
func (g *group) live(now time.Duration) bool {
	if g.rec.Nonce.IsZero() || now >= g.until {
		return false
	}
	if ttl := g.rec.TTL; g.until-now > ttl+ttl/20 {
		g.until = now + ttl
	}
	return true
}

func (s *Store) acquire(req driver.AcquireRequest) (driver.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.group(req.Group)
	if g.locked > 0 {
		return driver.Grant{}, driver.ErrNotApplied
	}
	now := s.now()
	if g.lastResigned == req.Nonce {
		return driver.Grant{}, driver.ErrResigned
	}
	if g.live(now) {
		if g.rec.Nonce != req.Nonce {
			return driver.Grant{}, &driver.HeldError{Record: g.record(now)}
		}
		// the reply to an earlier send was lost
		g.until = max(g.until, now+req.TTL)
		return driver.Grant{Token: g.token, Granted: req.TTL, AcquiredAt: g.rec.AcquiredAt}, nil
	}
	wall := s.epoch.Add(now)
	g.token = max(g.token+1, uint64(max(wall.UnixMicro(), 1)))
	g.until = now + req.TTL
	g.rec = driver.Record{
		Term:     driver.Term{Group: req.Group, Participant: req.Participant, Token: g.token, Nonce: req.Nonce},
		Metadata: maps.Clone(req.Metadata), AcquiredAt: wall, TTL: req.TTL,
	}
	return driver.Grant{Token: g.token, Granted: req.TTL, AcquiredAt: wall}, nil
}

func (s *Store) renew(req driver.RenewRequest) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[req.Term.Group]
	if g == nil {
		return 0, driver.ErrLost
	}
	if g.locked > 0 {
		return 0, driver.ErrNotApplied
	}
	now := s.now()
	if g.rec.Nonce != req.Term.Nonce || !g.live(now) {
		return 0, driver.ErrLost
	}
	if u := now + req.TTL; u >= g.until {
		g.until, g.rec.TTL = u, req.TTL
	}
	if req.Metadata != nil {
		g.rec.Metadata = maps.Clone(req.Metadata)
	}
	return req.TTL, nil
}

func (s *Store) resign(t driver.Term) error {
	s.mu.Lock()
	g := s.groups[t.Group]
	if g == nil || g.rec.Nonce != t.Nonce || !g.live(s.now()) {
		s.mu.Unlock()
		return driver.ErrLost
	}
	g.until, g.rec.Nonce, g.lastResigned = 0, driver.Nonce{}, t.Nonce
	var wake []driver.Sink
	for sub := range s.sinks {
		if _, ok := sub.groups[t.Group]; ok {
			wake = append(wake, sub.sink)
		}
	}
	s.mu.Unlock()
	for _, sink := range wake {
		sink.Wake(t.Group)
	}
	return nil
}

func (s *Store) leader(name string) (driver.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, now := s.groups[name], s.now()
	if g == nil || !g.live(now) {
		return driver.Record{}, driver.ErrNoLeader
	}
	return g.record(now), nil
}

// record is what is told about a live term.
func (g *group) record(now time.Duration) driver.Record {
	rec := g.rec
	rec.Metadata = maps.Clone(rec.Metadata)
	rec.Remaining = min(g.until-now, rec.TTL)
	return rec
}
