package zookeeper

import (
	"context"
	"errors"
	"sync"

	"github.com/multilock/multilock-go/core/driver"
)

// Watch makes sink hear of wake-ups and losses.
func (s *store) Watch(_ context.Context, sink driver.Sink) (driver.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, driver.ErrClosed
	case s.sub != nil:
		return nil, errors.New("zookeeper: Watch was called twice")
	}
	s.sub = &subscription{s: s, sink: sink}
	return s.sub, nil
}

type subscription struct {
	s    *store
	mu   sync.RWMutex // held for reading while a method of sink runs
	sink driver.Sink  // nil after Close
}

func (b *subscription) tell(f func(driver.Sink)) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.sink != nil {
		f(b.sink)
	}
}

// Add watches the lock node of group. If there is none, or if the watch cannot be
// set before ctx ends, Wake follows.
func (b *subscription) Add(ctx context.Context, group string) error {
	s := b.s
	if err := s.start(); err != nil {
		return err
	}
	s.mu.Lock()
	w := s.watches[group]
	if w == nil {
		w = &watch{}
		s.watches[group] = w
	}
	w.wanted = true
	armed := w.armed
	s.mu.Unlock()
	if armed {
		return nil
	}
	exists, err := s.setWatch(ctx, group)
	if err != nil || !exists {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.arm(group, w, 0, true)
			if errors.Is(explain(err), driver.ErrMisconfigured) {
				return explain(err)
			}
			return nil
		}
		s.spawn(func(context.Context) { s.wake(group) })
	}
	return nil
}

// Remove forgets group. The server's watch stays until its one event comes, which
// is then dropped.
func (b *subscription) Remove(group string) {
	s := b.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watches[group]; w != nil {
		w.wanted = false
		s.tidy(group)
	}
}

// Close ends all watches.
func (b *subscription) Close() error {
	s := b.s
	s.mu.Lock()
	for group, w := range s.watches {
		w.wanted = false
		s.tidy(group)
	}
	s.mu.Unlock()
	b.stop()
	return nil
}

func (b *subscription) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sink = nil
}
