// Package model is a plain, correct store in memory, with which the conformance
// kit tests itself, and a collection of ways to break it.
package model

import (
	"maps"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Store is one store; clients are made by Open.
type Store struct {
	bug Bug

	mu      sync.Mutex
	step    time.Duration // by how far the store's clock was stepped
	frozen  *time.Time    // the time of a clock that stands still, or nil
	groups  map[string]*record
	clients map[*Driver]bool
	unlock  map[string]chan struct{} // records held by somebody's transaction
	gone    map[driver.Nonce]bool    // every nonce that ever led; only bugs look at it
	calls   int64
}

// record is all the store knows about a group. It is never deleted.
type record struct {
	driver.Record
	expiry  time.Time
	last    driver.Nonce // the nonce that resigned last
	client  *Driver      // who acquired it; only bugs and EndSession look at it
	foreign bool         // overwritten by something that is no driver
}

// New makes an empty store with one bug, or none.
func New(bug Bug) *Store {
	return &Store{
		bug: bug, groups: map[string]*record{}, clients: map[*Driver]bool{},
		unlock: map[string]chan struct{}{}, gone: map[driver.Nonce]bool{},
	}
}

func (s *Store) is(b Bug) bool { return s.bug == b }

// now is the store's clock. It has microseconds, as real stores do.
func (s *Store) now() time.Time {
	if s.frozen != nil {
		return *s.frozen
	}
	return time.Now().Round(0).Add(s.step).Truncate(time.Microsecond)
}

// Tick is the smallest step of the clock.
const Tick = time.Microsecond

// Step steps the clock.
func (s *Store) Step(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step += d
}

// Freeze stops the clock and returns what moves it.
func (s *Store) Freeze() (advance func(time.Duration)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.now()
	s.frozen = &t
	return func(d time.Duration) {
		s.mu.Lock()
		defer s.mu.Unlock()
		t := s.frozen.Add(d)
		s.frozen = &t
	}
}

// Lock holds the record of group until unlock is called.
func (s *Store) Lock(group string) (unlock func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.key(group)
	c := make(chan struct{})
	s.unlock[key] = c
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.unlock, key)
		close(c)
	})
}

// Remove forgets a group.
func (s *Store) Remove(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.groups, s.key(group))
	s.wake(group)
}

// Corrupt overwrites a group's record.
func (s *Store) Corrupt(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[s.key(group)].foreign = true
}

// SetToken sets the last token of a group.
func (s *Store) SetToken(group string, token uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[s.key(group)].Token = token
}

// Age makes what is stored about group look older.
func (s *Store) Age(group string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.groups[s.key(group)]
	rec.expiry = rec.expiry.Add(-d)
	rec.AcquiredAt = rec.AcquiredAt.Add(-d)
}

// Restart drops all connections and keeps the data.
func (s *Store) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.is(CounterInMemory) {
		for _, rec := range s.groups {
			rec.Token = 0
		}
	}
	for c := range s.clients {
		if s.is(RestartFrees) {
			s.free(c)
		}
		c.reconnected()
	}
}

// free ends the terms of d without a word; only bugs do that.
func (s *Store) free(d *Driver) {
	for _, rec := range s.groups {
		if rec.client == d && s.live(rec) {
			rec.Nonce, rec.expiry = driver.Nonce{}, time.Time{}
			s.wake(rec.Group)
		}
	}
}

// LoseData drops all connections and all data.
func (s *Store) LoseData() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.groups)
	for c := range s.clients {
		c.reconnected()
	}
}

// Snapshot copies the data; restore puts the copy back.
func (s *Store) Snapshot() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	groups := copyGroups(s.groups)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.groups = copyGroups(groups)
	}
}

func copyGroups(m map[string]*record) map[string]*record {
	out := map[string]*record{}
	for k, r := range m {
		c := *r
		c.Metadata = maps.Clone(r.Metadata)
		out[k] = &c
	}
	return out
}

// Requests counts the requests so far.
func (s *Store) Requests() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// lockDelay is how long nobody gets a lease whose session was ended from outside,
// since its holder has to hear of it first.
const lockDelay = 50 * time.Millisecond

// EndSession frees what d holds, as an operator would who destroys its session.
func (s *Store) EndSession(d *Driver) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rec := range s.groups {
		if rec.client == d && s.live(rec) {
			nonce := rec.Nonce
			if !s.is(SessionEndUnnoticed) {
				rec.Nonce, rec.expiry = driver.NewNonce(), s.now().Add(lockDelay)
				d.lost(rec.Group, nonce)
			} else {
				rec.Nonce, rec.expiry = driver.Nonce{}, time.Time{}
				d.zombie = true
			}
			s.wake(rec.Group)
		}
	}
}

// live reports whether rec is a live term by the store's clock.
func (s *Store) live(rec *record) bool {
	if rec == nil || rec.Nonce.IsZero() {
		return false
	}
	now := s.now()
	if s.is(ClientClock) {
		now = time.Now().Round(0)
	}
	if s.is(EarlyByOneTick) {
		now = now.Add(Tick)
	}
	if s.is(IdleOverflow) && int64(int32(now.Sub(rec.expiry).Milliseconds())) != now.Sub(rec.expiry).Milliseconds() {
		return true
	}
	return now.Before(rec.expiry)
}

// clamp corrects an expiry that a step of the clock has moved out of reach. It
// uses the time-to-live of the record, never a challenger's.
func (s *Store) clamp(rec *record) {
	if s.is(NoClamp) || s.is(ExpiresLate) || rec == nil || rec.Nonce.IsZero() {
		return
	}
	if left := rec.expiry.Sub(s.now()); left > rec.TTL+rec.TTL/20 {
		rec.expiry = s.now().Add(rec.TTL)
		if s.is(ClampFrees) {
			rec.expiry = s.now()
		}
	}
}

// mint makes the token of a new term: it survives a loss of the record as far as
// the clock does.
func (s *Store) mint(previous uint64) uint64 {
	now := uint64(s.now().UnixMicro())
	switch s.bug {
	case TokenFromCounter:
		return previous + 1
	case TokenFromClock:
		return now
	case TokenFloat:
		return uint64(float64(max(previous+1, now)) + 0)
	}
	return max(previous+1, now)
}

// wake tells everybody who watches group. The caller holds mu.
func (s *Store) wake(group string) {
	for c := range s.clients {
		if rec := s.groups[s.key(group)]; s.is(WakesOthersOnly) && rec != nil && rec.client == c {
			continue
		}
		c.push(group)
	}
}

// sweepLater wakes the followers of group if its term has expired by then.
func (s *Store) sweepLater(group string, d time.Duration) {
	if s.is(NoExpiryWake) || s.frozen != nil {
		return
	}
	time.AfterFunc(d+time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if rec := s.groups[s.key(group)]; rec != nil && !rec.Nonce.IsZero() && !s.live(rec) {
			s.wake(group)
		}
	})
}
