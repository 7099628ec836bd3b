package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/multilock/multilock-go/core/driver"
)

// errNoPush says that this connection cannot be notified; core then polls.
var errNoPush = errors.New("a pooler in transaction mode passes no notifications on; followers rely on timers")

const (
	// listenCheck is how long the connection may be silent before it is asked
	// whether it still works; listenLimit is how long that and others may take.
	listenCheck = 30 * time.Second
	listenLimit = 5 * time.Second
)

// subscription listens for all groups on one connection.
type subscription struct {
	s      *store
	sink   driver.Sink
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	groups map[string]struct{}
}

// Watch implements driver.Watcher. It returns when the connection listens, so
// that Add has nothing left to do. If it fails, core tries again later.
func (s *store) Watch(ctx context.Context, sink driver.Sink) (driver.Subscription, error) {
	if s.closed.Load() {
		return nil, driver.ErrClosed
	}
	run, cancel := context.WithCancel(s.ctx)
	x := &subscription{s: s, sink: sink, cancel: cancel, done: make(chan struct{}), groups: make(map[string]struct{})}
	conn, err := s.listen(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	s.mu.Lock()
	s.sub = x
	s.mu.Unlock()
	go x.loop(run, conn)
	return x, nil
}

// Add implements driver.Subscription.
func (x *subscription) Add(_ context.Context, group string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.groups[group] = struct{}{}
	return nil
}

// Remove implements driver.Subscription.
func (x *subscription) Remove(group string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.groups, group)
}

// Close implements driver.Subscription.
func (x *subscription) Close() error {
	x.cancel()
	<-x.done
	return nil
}

// loop passes notifications on until the subscription is closed. A connection
// that breaks is replaced; what was missed meanwhile is made up for by waking all.
func (x *subscription) loop(ctx context.Context, conn *pgx.Conn) {
	defer close(x.done)
	for pause := time.Duration(0); ; {
		if conn == nil {
			if pause > 0 && !sleep(ctx, pause/2+rand.N(pause)) {
				return
			}
			var err error
			if conn, err = x.s.listen(ctx); err != nil {
				if ctx.Err() != nil {
					return
				}
				conn, pause = nil, min(max(2*pause, 10*time.Millisecond), 2*time.Second)
				continue
			}
			pause = 10 * time.Millisecond
			x.sink.WakeAll()
		}
		x.receive(ctx, conn)
		hangUp(conn)
		conn = nil
		if ctx.Err() != nil {
			return
		}
	}
}

// receive passes notifications on until the connection breaks.
func (x *subscription) receive(ctx context.Context, conn *pgx.Conn) {
	for {
		wait, cancel := context.WithTimeout(ctx, listenCheck)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case err == nil:
			x.mu.Lock()
			_, mine := x.groups[n.Payload]
			x.mu.Unlock()
			if mine {
				x.sink.Wake(n.Payload)
			}
		case ctx.Err() != nil || conn.IsClosed() || !pgconn.Timeout(err):
			return
		default: // it was silent
			check, cancel := context.WithTimeout(ctx, listenLimit)
			err := conn.Ping(check)
			cancel()
			if err != nil {
				return
			}
		}
	}
}

// listen opens the connection that notifications come on.
func (s *store) listen(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.CommandTimeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	conn, err := s.listener(ctx)
	if err != nil {
		return nil, err
	}
	if err = s.introduce(ctx, conn); err == nil {
		if s.pooled.Load() && s.o.Notify != NotifyOn {
			hangUp(conn)
			return nil, errNoPush
		}
		_, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{s.channel}.Sanitize())
	}
	if err != nil {
		err = s.judge(ctx, conn, err)
		hangUp(conn)
		return nil, err
	}
	return conn, nil
}

// listener is a connection for one purpose. Out of a pool of ours it would be the
// one that has just made an attempt, and knows its statement: the next attempt, or
// the resignation, would have to connect anew.
func (s *store) listener(ctx context.Context) (*pgx.Conn, error) {
	if !s.owned {
		pc, err := s.connect(ctx, s.calls)
		if err != nil {
			return nil, err
		}
		return pc.Hijack(), nil // out of the pool, with all the pool knows about connecting
	}
	conn, err := pgx.ConnectConfig(ctx, s.calls.Config().ConnConfig)
	if err != nil {
		return nil, s.connectError(ctx, err)
	}
	if err := s.look(ctx, conn); err != nil {
		err = s.judge(ctx, conn, err)
		hangUp(conn)
		return nil, err
	}
	return conn, nil
}

// probe finds out whether notifications arrive through a pooler: one that is sent
// on another connection does not, unless the session is ours alone.
func (s *store) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listenLimit)
	defer cancel()
	misconfigured := func(err error) error {
		return driver.Misconfigured(err, "connect to the server itself or to a pooler in session mode, or let Notify be auto")
	}
	listener, err := s.calls.Acquire(ctx)
	if err != nil {
		return s.connectError(ctx, err)
	}
	conn := listener.Hijack()
	defer hangUp(conn)
	sender, err := s.calls.Acquire(ctx)
	if err != nil {
		return s.connectError(ctx, err)
	}
	defer sender.Release()
	name := strings.ReplaceAll(driver.NewNonce().String(), "-", "")
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{name}.Sanitize()); err != nil {
		return misconfigured(err)
	}
	if _, err := sender.Exec(ctx, "SELECT pg_notify($1::text, '')", name); err != nil {
		return err
	}
	if _, err := conn.WaitForNotification(ctx); err != nil {
		return misconfigured(fmt.Errorf("%w: no notification within %v", errNoPush, listenLimit))
	}
	return nil
}

// hangUp closes a connection without waiting for the server.
func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // it is of no further use, whatever happens to it
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
