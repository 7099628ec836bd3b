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
		s.hook.relieve(idle(s.o))
		s.wg.Go(s.keepAlive)
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
