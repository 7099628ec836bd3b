package consul

import (
	"time"
)

// refusal is a group that Consul keeps locked for the lock-delay of a dead
// session. Nothing tells when that is over, so the follower is woken by time.
type refusal struct {
	timer *time.Timer
	until time.Time // when the lock-delay is over at the latest
	tries int       // after that
}

// refused plans a wake-up for the end of the lock-delay.
func (s *store) refused(group string, rec record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := time.Now()
	r := s.refusals[group]
	if r == nil {
		// The session died before this refusal, so this is late enough. Without a
		// record the lock was not ours, and the delay is anybody's guess.
		delay := time.Duration(rec.LockDelay) * time.Millisecond
		if delay <= 0 {
			delay = time.Second
		}
		r = &refusal{until: now.Add(min(delay, maxLockDelay))}
		s.refusals[group] = r
	} else {
		r.timer.Stop()
	}
	wait := r.until.Sub(now)
	if wait <= 0 { // another server leads, and counts the delay from later
		wait = min(250*time.Millisecond<<min(r.tries, 4), 4*time.Second)
		r.tries++
	}
	r.timer = time.AfterFunc(wait+2*time.Millisecond, func() { s.subscription().wake(group) })
}

// freed forgets a lock-delay that is over.
func (s *store) freed(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.refusals[group]; r != nil {
		r.timer.Stop()
		delete(s.refusals, group)
	}
}
