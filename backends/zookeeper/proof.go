package zookeeper

import (
	"context"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// A proof of life says that whoever confirms a write sent on connection epoch knew
// that the session was alive at the time at.
//
// What a session asks of its server reaches the ensemble's leader as a touch only
// with the server's answer to the leader's next ping, and the leader pings a
// server twice per tick. So: a request answered; another one, sent a tick after
// that answer or later, which the ensemble's leader answered, so that its answer
// came to our server behind such a ping, and our server had reported us before it
// arrived; then every write sent from now on reaches the leader behind that
// report. If the write is confirmed, the leader knew that the session was alive
// when the first request was sent.
type proof struct {
	epoch uint64
	at    time.Time
}

// proofs keeps the newest proof, and the requests that the next answer of the
// ensemble may prove.
type proofs struct {
	proof
	last  time.Time // the latest answer
	asked []span    // since proof.at, in the order of their answers
}

// span is an answered request.
type span struct{ sent, answered time.Time }

// add notes a request answered now. decided tells that the answer came through the
// ensemble's leader: that of a write, or of a sync.
func (p *proofs) add(epoch uint64, sent, now time.Time, decided bool, tick time.Duration) {
	if p.epoch != epoch {
		*p = proofs{proof: proof{epoch: epoch}}
	}
	p.last = now
	if decided {
		for i := len(p.asked) - 1; i >= 0; i-- {
			if r := p.asked[i]; sent.Sub(r.answered) >= tick {
				if r.sent.After(p.at) {
					p.at = r.sent
				}
				p.asked = append(p.asked[:0], p.asked[i+1:]...)
				break
			}
		}
	}
	// Some of many are enough.
	if n := len(p.asked); n == 0 || now.Sub(p.asked[n-1].answered) >= tick/8 {
		p.asked = append(p.asked, span{sent, now})
	}
}

// due is when a sync must be sent if nothing else is: before the newest proof is
// as old as most, and in any case a pause after the latest answer. opened is when
// the connection was.
func (p *proofs) due(epoch uint64, opened time.Time, most, pause, tick time.Duration) time.Time {
	if p.epoch != epoch {
		return opened.Add(pause)
	}
	due := p.last.Add(pause)
	if most > 0 && len(p.asked) > 0 {
		if at := later(later(p.at, opened).Add(most), p.asked[0].answered.Add(tick)); at.Before(due) {
			due = at
		}
	}
	return due
}

// provable returns what a sync that is sent now would prove, zero if nothing.
func (p *proofs) provable(epoch uint64, now time.Time, tick time.Duration) proof {
	if p.epoch == epoch {
		for i := len(p.asked) - 1; i >= 0; i-- {
			if r := p.asked[i]; now.Sub(r.answered) >= tick {
				return proof{epoch, r.sent}
			}
		}
	}
	return proof{}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shortening is what a term is believed shorter than the time-out at most, for the
// age of the proof that its renewals build on.
//
// The heartbeats of an elector are themselves the requests of the proof if its
// time-out is long enough for three of them within this time, each a tick or more
// after another, or if four or more fit; see docs/decisions/0014.
func shortening(o Options) time.Duration {
	return max(2*o.Tick+o.SessionTimeout/15, o.SessionTimeout/100*41)
}

// oldest is the age at which a leader's proof is renewed by a sync; what is left
// until shortening is for the answers.
func oldest(o Options) time.Duration { return shortening(o) - o.SessionTimeout/50 }

// idle is how long a session without terms asks nothing. Whatever it asks takes
// the place of the library's pings, of which there are three per time-out. A proof
// is at hand as long as it is not older than leastLife allows; later there is a
// request that is a tick old, so that one sync makes a proof.
func idle(o Options) time.Duration {
	return max(o.Tick, min(o.SessionTimeout*12/25, o.SessionTimeout*17/25-o.Tick))
}

// leastLife is what a write must be able to grant.
func leastLife(timeout time.Duration) time.Duration { return timeout * 3 / 10 }

// lifetime is what a confirmed write guarantees, counted from t0, the beginning
// of the call.
func (p proof) lifetime(timeout time.Duration, t0 time.Time) time.Duration {
	return remaining(timeout, t0.Sub(p.at), t0.Round(0).Sub(p.at.Round(0)))
}

// remaining is timeout less the age of a proof on the monotonic and on the wall
// clock; nothing if these contradict each other, as after a suspend, which the
// monotonic clock does not count.
func remaining(timeout, mono, wall time.Duration) time.Duration {
	if d := wall - mono; d < -maxClockGap || d > maxClockGap {
		return 0
	}
	return max(0, min(timeout, timeout-max(mono, wall)))
}

// maxClockGap is how far monotonic and wall clock may move apart within a few
// ticks: more than scheduling between the two readings and slewing explain.
const maxClockGap = 50 * time.Millisecond

// latest returns the newest proof for a write that is sent now on l.
func (s *store) latest(l link) proof {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proofs.epoch == l.epoch && s.proofs.at.After(l.opened) {
		return s.proofs.proof
	}
	// To open a session, and to take one up again on a new connection, is decided
	// by the ensemble's leader, who counts its time-out from there.
	return proof{l.epoch, l.opened}
}

// ask runs f, which is one request; see await. Its answer counts for the proofs.
func ask[T any](ctx context.Context, s *store, decided bool, f func() (T, error)) (T, error) {
	before, _, _ := s.hook.look()
	sent := time.Now()
	v, err := await(ctx, f)
	if err == nil {
		// Over which connection it went is known only if there was just one.
		if now, _, _ := s.hook.look(); before.up && now.up && now.epoch == before.epoch {
			s.mu.Lock()
			s.proofs.add(now.epoch, sent, time.Now(), decided, s.tick)
			s.mu.Unlock()
		}
	}
	return v, err
}

// keepAlive sends a sync whenever the session would otherwise be silent for too
// long, or a leader without a proof that is young enough.
func (s *store) keepAlive() {
	var watching int64
	for {
		l, closed, changed := s.hook.look()
		if closed {
			return
		}
		if !l.up {
			select {
			case <-changed:
			case <-s.base.Done():
				return
			}
			continue
		}
		due := s.due(l)
		if watching != l.session {
			due = l.opened.Add(watchForGoodAfter)
		}
		if wait := time.Until(due); wait > 0 {
			t := time.NewTimer(wait)
			select {
			case <-t.C:
			case <-changed:
			case <-s.hurry:
			case <-s.base.Done():
				t.Stop()
				return
			}
			t.Stop()
			continue
		}
		stuck := time.AfterFunc(max(minStuck, s.o.SessionTimeout/4), func() { s.hook.cut(l.epoch) })
		var err error
		if watching != l.session {
			if err = s.watchForGood(l); err == nil {
				watching = l.session
			}
		} else {
			err = s.sync(s.base)
		}
		stuck.Stop()
		if err != nil {
			select { // never a busy loop, whatever the error
			case <-time.After(min(s.tick, 100*time.Millisecond)):
			case <-s.base.Done():
				return
			}
		}
	}
}

// due is when the next sync must be sent on l.
func (s *store) due(l link) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.leading) > 0 {
		most := oldest(s.o)
		return s.proofs.due(l.epoch, l.opened, most, most/2, s.tick)
	}
	return s.proofs.due(l.epoch, l.opened, 0, idle(s.o), s.tick)
}

// watchForGoodAfter keeps the beginning of a session, in which an attempt is made
// mostly, free of what has time.
const watchForGoodAfter = 500 * time.Millisecond

// watchForGood sets a watch on a node that nobody makes, see Hook.watchSet.
func (s *store) watchForGood(l link) error {
	_, err := await(s.base, func() (struct{}, error) {
		_, _, _, err := s.conn.ExistsW(s.o.RootPath + neverMade)
		return struct{}{}, err
	})
	if err == nil && s.same(l) {
		s.hook.watchSet(l.session)
	}
	return err
}

// minStuck is the least wait for an answer before a connection is given up.
const minStuck = 250 * time.Millisecond

// fresh is ready for a write that must prove a lifetime: if the proof at hand is
// old, a sync is sent first that makes a new one; or else, for whatever reason,
// another connection is taken, since to take up the session there is a proof by
// itself.
func (s *store) fresh(ctx context.Context, t0 time.Time) (link, proof, error) {
	l, err := s.ready(ctx)
	if err != nil {
		return l, proof{}, err
	}
	least := leastLife(l.timeout)
	p := s.latest(l)
	if p.lifetime(l.timeout, t0) >= least {
		return l, p, nil
	}
	s.mu.Lock()
	next := s.proofs.provable(l.epoch, time.Now(), s.tick)
	s.mu.Unlock()
	if next.lifetime(l.timeout, t0) >= least {
		stop := s.watchdog(ctx, l)
		err := s.sync(ctx)
		stop()
		if p = s.latest(l); err == nil && s.same(l) && p.lifetime(l.timeout, t0) >= least {
			return l, p, nil
		}
		if err != nil && ctx.Err() != nil {
			return l, p, err
		}
	}
	s.hook.cut(l.epoch)
	for l.up && l.epoch == p.epoch {
		var changed <-chan struct{}
		if l, _, changed = s.hook.look(); l.up && l.epoch == p.epoch {
			select {
			case <-changed:
			case <-ctx.Done():
				return l, p, ended(ctx)
			case <-s.base.Done():
				return l, p, driver.ErrClosed
			}
		}
	}
	if l, err = s.ready(ctx); err != nil {
		return l, p, err
	}
	return l, s.latest(l), nil
}
