package model

import (
	"context"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// subscription delivers pushes from a goroutine of its own, so that the store is
// never called back by a sink while it holds its lock.
type subscription struct {
	d    *Driver
	sink driver.Sink
	conn *conn

	// Guarded by the store's mu.
	groups map[string]bool
	last   string
	dead   bool

	mu     sync.Mutex
	queue  []func()
	closed bool
	notify chan struct{}
	done   chan struct{}
}

// Watch implements driver.Watcher.
func (d *Driver) Watch(ctx context.Context, sink driver.Sink) (driver.Subscription, error) {
	if err := d.begin(ctx); err != nil {
		return nil, err
	}
	c, err := d.net.dial()
	if err != nil {
		c = &conn{broken: make(chan struct{})} // it will be opened by the reconnect
	}
	sub := &subscription{d: d, sink: sink, conn: c, groups: map[string]bool{}, notify: make(chan struct{}, 1), done: make(chan struct{})}
	go sub.run()
	if d.s.is(WakesAlways) {
		go sub.wakeAlways()
	}
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.sub = sub
	return sub, nil
}

// wakeAlways is a bug: a poll that takes everything for a wake-up.
func (s *subscription) wakeAlways() {
	for {
		select {
		case <-s.done:
			return
		case <-time.After(50 * time.Millisecond):
			s.enqueue(s.sink.WakeAll)
		}
	}
}

func (s *subscription) run() {
	defer close(s.done)
	for range s.notify {
		for {
			s.mu.Lock()
			if s.closed && !s.d.s.is(PushAfterClose) {
				s.mu.Unlock()
				return
			}
			if len(s.queue) == 0 {
				s.mu.Unlock()
				break
			}
			f := s.queue[0]
			s.queue = s.queue[1:]
			s.mu.Unlock()
			f()
		}
		if s.d.s.is(PushAfterClose) {
			s.mu.Lock()
			stop := s.closed
			s.mu.Unlock()
			if stop {
				return
			}
		}
	}
}

func (s *subscription) enqueue(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, f)
	select {
	case s.notify <- struct{}{}:
	default:
	}
}

// push is called with the store's mu held.
func (d *Driver) push(group string) {
	sub := d.sub
	if sub == nil || sub.dead || !sub.groups[group] || !d.net.up(sub.conn) {
		return
	}
	switch d.s.bug {
	case NoWake:
		return
	case LateWake:
		time.AfterFunc(8*time.Second, func() { sub.enqueue(func() { sub.sink.Wake(group) }) })
		return
	case WatchesLastOnly:
		if group != sub.last {
			return
		}
	}
	sub.enqueue(func() { sub.sink.Wake(group) })
}

// reconnected is called with the store's mu held, after pushes may have been lost.
func (d *Driver) reconnected() {
	if sub := d.sub; sub != nil && !d.closed {
		if d.s.is(NoWakeAll) {
			return
		}
		sub.enqueue(sub.sink.WakeAll)
	}
}

// lost is called with the store's mu held.
func (d *Driver) lost(group string, n driver.Nonce) {
	if sub := d.sub; sub != nil && !d.closed {
		sub.enqueue(func() { sub.sink.Lost(group, n) })
	}
}

// Add implements driver.Subscription.
func (s *subscription) Add(_ context.Context, group string) error {
	if s.d.s.is(WakeGap) {
		time.AfterFunc(20*time.Millisecond, func() { s.add(group) })
		return nil
	}
	s.add(group)
	return nil
}

func (s *subscription) add(group string) {
	s.d.s.mu.Lock()
	defer s.d.s.mu.Unlock()
	s.groups[group], s.last = true, group
}

// Remove implements driver.Subscription.
func (s *subscription) Remove(group string) {
	s.d.s.mu.Lock()
	defer s.d.s.mu.Unlock()
	delete(s.groups, group)
	if s.d.s.is(RemoveRemovesAll) {
		clear(s.groups)
	}
}

// Close implements driver.Subscription.
func (s *subscription) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	select {
	case s.notify <- struct{}{}:
	default:
	}
	if !s.d.s.is(PushAfterClose) {
		<-s.done
	}
	return nil
}
