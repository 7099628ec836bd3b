package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// start makes the store's own client, once. The library connects by itself.
func (s *store) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return driver.ErrClosed
	case s.conn == nil:
		c, _, err := zk.Connect(s.o.Servers, s.o.SessionTimeout,
			zk.WithDialer(s.hook.Dial), zk.WithEventCallback(s.hook.Event), zk.WithHostProvider(s.hosts),
			zk.WithLogger(silent{}), zk.WithLogInfo(false))
		if err != nil {
			return fmt.Errorf("zookeeper: %w", err)
		}
		s.conn = c
		if s.o.AuthDigest != "" {
			s.authorized = make(chan struct{})
			s.wg.Go(s.authorize)
		}
		fallthrough
	case !s.running:
		s.running = true
		s.wg.Go(s.prove)
		s.wg.Go(s.dispatch)
	}
	return nil
}

// dialer connects to one server within limit, including TLS.
func dialer(o Options, limit time.Duration) zk.Dialer {
	return func(network, address string, _ time.Duration) (net.Conn, error) {
		d := &net.Dialer{Timeout: limit}
		if o.TLSConfig != nil {
			return tls.DialWithDialer(d, network, address, o.TLSConfig)
		}
		return d.Dial(network, address)
	}
}

// silent swallows the library's log: every fault reaches the caller as an error,
// and addresses may be confidential.
type silent struct{}

func (silent) Printf(string, ...any) {}

// authorize sends the credentials once; the library repeats them on every later
// connection before anything else.
func (s *store) authorize() {
	for {
		_, err := await(s.base, func() (struct{}, error) {
			return struct{}{}, s.conn.AddAuth("digest", []byte(s.o.AuthDigest))
		})
		if err == nil || errors.Is(err, zk.ErrAuthFailed) {
			s.mu.Lock()
			s.authErr = explain(err)
			s.mu.Unlock()
			close(s.authorized)
			return
		}
		_, closed, changed := s.hook.look()
		if closed {
			return
		}
		select {
		case <-changed:
		case <-time.After(s.tick):
		case <-s.base.Done():
			return
		}
	}
}

// await runs f, which the library offers no way to interrupt, and abandons it
// when ctx ends.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := f()
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var zero T
		return zero, ended(ctx)
	}
}

// ready waits for a connection with a session. It gives up early when every
// server has refused since it was called.
func (s *store) ready(ctx context.Context) (link, error) {
	if err := s.start(); err != nil {
		return link{}, err
	}
	return s.linked(ctx)
}

// linked is ready for what Close still has to do.
func (s *store) linked(ctx context.Context) (link, error) {
	before, _ := s.hook.dials()
	for {
		l, closed, changed := s.hook.look()
		if closed {
			return link{}, driver.ErrClosed
		}
		if l.up {
			return l, s.admitted(ctx)
		}
		failures, dialErr := s.hook.dials()
		if failures-before >= s.rounds {
			return link{}, offline(errAllFailed, dialErr)
		}
		select {
		case <-changed:
		case <-s.base.Done():
			return link{}, driver.ErrClosed
		case <-ctx.Done():
			return link{}, offline(context.Cause(ctx), dialErr)
		}
	}
}

// admitted waits until the credentials have been accepted.
func (s *store) admitted(ctx context.Context) error {
	if s.authorized == nil {
		return nil
	}
	select {
	case <-s.authorized:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.authErr
	case <-s.base.Done():
		return driver.ErrClosed
	case <-ctx.Done():
		return ended(ctx)
	}
}

// checkTimeout refuses a session whose time-out is not the TTL of the electors.
func (s *store) checkTimeout(l link) error {
	if l.timeout == s.o.SessionTimeout {
		return nil
	}
	return driver.Misconfigured(
		fmt.Errorf("zookeeper: the server made the session time-out %v, not %v", l.timeout, s.o.SessionTimeout),
		"choose a SessionTimeout between the server's minSessionTimeout and maxSessionTimeout, by default 2 and 20 times its tickTime")
}

// prove keeps a proof of life at hand, see doc.go. Requests of sessions reach the
// ensemble's leader as touches only with the answer to its next ping, and it
// pings a server twice per tick. So: a request answered at a; a sync sent at
// a + tick or later and answered, which came to our server behind such a ping;
// then every write sent from now on reaches the leader behind the answer to that
// ping. If the write is confirmed, the leader knew that the session was alive
// when the first request was sent.
func (s *store) prove() {
	var first struct { // the request that the next sync proves
		epoch    uint64
		sent     time.Time
		answered time.Time
	}
	var watching int64
	for {
		l, closed, changed := s.hook.look()
		if closed {
			return
		}
		if l.up && watching != l.session && s.watchForGood(l) == nil {
			watching = l.session
		}
		if !l.up {
			select {
			case <-changed:
			case <-s.base.Done():
				return
			}
			continue
		}
		if first.epoch == l.epoch {
			if wait := time.Until(first.answered.Add(s.gap())); wait > 0 {
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
		}
		sent := time.Now()
		stuck := time.AfterFunc(max(minStuck, s.o.SessionTimeout/4), func() { s.hook.cut(l.epoch) })
		_, err := await(s.base, func() (string, error) { return s.conn.Sync(s.o.RootPath) })
		stuck.Stop()
		if err != nil {
			select { // never a busy loop, whatever the error
			case <-time.After(min(s.tick, 100*time.Millisecond)):
			case <-s.base.Done():
				return
			}
			continue
		}
		if now, _, _ := s.hook.look(); now.epoch != l.epoch {
			continue // which connection it went over is not known
		}
		if first.epoch == l.epoch {
			s.mu.Lock()
			s.proof = proof{l.epoch, first.sent}
			s.mu.Unlock()
		}
		first.epoch, first.sent, first.answered = l.epoch, sent, time.Now()
	}
}

// watchForGood sets a watch on a node that nobody makes, see Hook.watchSet.
func (s *store) watchForGood(l link) error {
	stuck := time.AfterFunc(max(minStuck, s.o.SessionTimeout/4), func() { s.hook.cut(l.epoch) })
	defer stuck.Stop()
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

// gap is the pause between an answer and the next sync: never less than a tick.
func (s *store) gap() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.leading) > 0 {
		return gap(s.o)
	}
	// Less than the third after which the library pings: the syncs take the place of
	// its pings.
	return max(s.tick, s.o.SessionTimeout*3/10)
}

// gap is that of a session with terms.
func gap(o Options) time.Duration { return max(o.Tick, o.SessionTimeout/8) }

// proof says that whoever confirms a write sent on connection epoch knew that
// the session was alive at the time at.
type proof struct {
	epoch uint64
	at    time.Time
}

// latest returns the newest proof for a write that is sent now on l.
func (s *store) latest(l link) proof {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proof.epoch == l.epoch && s.proof.at.After(l.opened) {
		return s.proof
	}
	// To open a session, and to take one up again on a new connection, is decided
	// by the ensemble's leader, who counts its time-out from there.
	return proof{l.epoch, l.opened}
}

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

// fresh is ready for a write that must prove a lifetime: if the proof at hand is
// old, for whatever reason, another connection is taken, since to take up the
// session there is a proof by itself.
func (s *store) fresh(ctx context.Context, t0 time.Time) (link, proof, error) {
	l, err := s.ready(ctx)
	if err != nil {
		return l, proof{}, err
	}
	p := s.latest(l)
	if p.lifetime(l.timeout, t0) >= l.timeout/3 {
		return l, p, nil
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

// same reports whether the session of l is still the session, so that what was
// answered meanwhile was executed in it.
func (s *store) same(l link) bool {
	now, _, _ := s.hook.look()
	return l.session != 0 && now.session == l.session
}

// watchdog closes the connection of l when a call that began now has had no
// answer for a third of the time it has: the session then goes on over another
// connection. stop ends the watch.
func (s *store) watchdog(ctx context.Context, l link) (stop func() bool) {
	wait := s.o.SessionTimeout / 3
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)/3)
	}
	return time.AfterFunc(max(minStuck, wait), func() { s.hook.cut(l.epoch) }).Stop
}
