package model

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

var errNetwork = errors.New("model: connection refused or reset")

// The directions of a Link.
const (
	ToStore = 1 << iota
	ToClient
)

// Link is the network between one client and its store: a pool of connections,
// each carrying one call at a time.
type Link struct {
	restored func()
	single   bool // a bug: one connection for everything

	mu      sync.Mutex
	conns   []*conn
	cut     bool
	hole    int
	latency time.Duration
}

type conn struct {
	busy    bool
	stalled bool
	broken  chan struct{} // closed when the connection breaks
}

func newLink() *Link { return &Link{} }

// do carries one call to the store and its answer back.
func (l *Link) do(ctx context.Context, f func() error) error {
	c, err := l.dial()
	if err != nil {
		return err
	}
	if err := l.cross(ctx, c, ToStore); err != nil {
		l.drop(c)
		return err
	}
	err = f()
	if lost := l.cross(ctx, c, ToClient); lost != nil {
		l.drop(c)
		return lost
	}
	l.mu.Lock()
	c.busy = false
	l.mu.Unlock()
	return err
}

func (l *Link) dial() (*conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errNetwork
	}
	for _, c := range l.conns {
		if !c.busy || l.single {
			c.busy = true
			return c, nil
		}
	}
	c := &conn{busy: true, broken: make(chan struct{})}
	l.conns = append(l.conns, c)
	return c, nil
}

func (l *Link) drop(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns = slices.DeleteFunc(l.conns, func(x *conn) bool { return x == c })
}

// cross is one half of a call's way. Bytes that vanish never come.
func (l *Link) cross(ctx context.Context, c *conn, direction int) error {
	l.mu.Lock()
	delay, vanish := l.latency, l.hole&direction != 0 || c.stalled
	l.mu.Unlock()
	if vanish {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.broken:
			return errNetwork
		}
	}
	if delay > 0 {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.broken:
			return errNetwork
		}
	}
	select {
	case <-c.broken:
		return errNetwork
	default:
		return nil
	}
}

// up reports whether a push on c reaches the client.
func (l *Link) up(c *conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.cut && l.hole&ToClient == 0 && !c.stalled
}

func (l *Link) breakAll() {
	for _, c := range l.conns {
		close(c.broken)
	}
	l.conns = nil
}

// Cut closes all connections and refuses new ones.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	l.breakAll()
}

// Blackhole lets bytes in the given directions vanish.
func (l *Link) Blackhole(directions int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hole = directions
}

// Stall silences the open connection number n.
func (l *Link) Stall(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n >= len(l.conns) {
		return false
	}
	l.conns[n].stalled = true
	return true
}

// Reset closes all connections; new ones work.
func (l *Link) Reset() {
	l.mu.Lock()
	l.breakAll()
	l.mu.Unlock()
	l.restored()
}

// Latency delays each half of a call.
func (l *Link) Latency(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latency = d
}

// Restore undoes everything.
func (l *Link) Restore() {
	l.mu.Lock()
	l.cut, l.hole, l.latency = false, 0, 0
	for _, c := range l.conns {
		c.stalled = false
	}
	l.mu.Unlock()
	l.restored()
}
