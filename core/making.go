package multilock

import (
	"context"
	"slices"
)

// making is a batch under way: one call, or several acquires joined.
type making struct {
	l      *lane
	batch  []*call
	cancel context.CancelFunc

	// under the lane's lock
	by       int64 // monotonic time of its limit
	returned bool  // the driver has
	hung     bool  // its worker counts as stuck
}

// make makes a batch. It returns what follows those calls that ended without
// having been given up.
func (l *lane) make(batch []*call) (ended []func()) {
	first := batch[0]
	ctx, cancel := context.WithCancel(l.b.ctx)
	defer cancel()
	m := &making{l: l, batch: batch, cancel: cancel}
	if len(batch) == 1 && !first.begin(m.giveUp) {
		return nil // it was given up before it was sent
	}
	if first.limit > 0 {
		m.limit(l.b.clock.Now().Mono + int64(first.limit))
	}
	if len(batch) == 1 {
		first.do(ctx)
	} else {
		l.b.acquireMany(ctx, batch)
	}
	m.back()
	for _, c := range batch {
		if len(batch) > 1 && c.alone {
			l.again(c)
		} else if c.end(callDone) {
			if c.then != nil {
				ended = append(ended, c.then)
			}
		} else if c.late != nil {
			c.late()
		}
	}
	return ended
}

// limit gives the batch up at a monotonic time, if it is still under way then.
func (m *making) limit(by int64) {
	l := m.l
	l.mu.Lock()
	defer l.mu.Unlock()
	m.by = by
	l.limited = append(l.limited, m)
	l.limits.set(l.b.clock, by, l.expire)
}

// expire gives up what is under way beyond its limit.
func (l *lane) expire() {
	l.mu.Lock()
	l.limits.rung()
	now := l.b.clock.Now().Mono
	var over []*making
	l.limited = slices.DeleteFunc(l.limited, func(m *making) bool {
		if m.by > now {
			l.limits.set(l.b.clock, m.by, l.expire)
			return false
		}
		over = append(over, m)
		return true
	})
	l.mu.Unlock()
	for _, m := range over {
		m.giveUp()
	}
}

// rest stops the alarm of a lane that is closed, unless a call hangs even then.
func (l *lane) rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.limited) == 0 {
		l.limits.stop()
	}
}

// giveUp ends the waiting for the batch. Until its worker is back another takes
// its place.
func (m *making) giveUp() {
	l := m.l
	for _, c := range m.batch {
		if c.end(callGivenUp) {
			l.follow(c)
		}
	}
	m.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !m.returned && !m.hung {
		m.hung = true
		l.stuck++
		l.b.stats.abandoned.Add(1)
		l.spawn()
	}
}

// back notes that the driver has returned.
func (m *making) back() {
	l := m.l
	l.mu.Lock()
	defer l.mu.Unlock()
	m.returned = true
	if m.hung {
		l.stuck--
	}
	if i := slices.Index(l.limited, m); i >= 0 {
		l.limited = slices.Delete(l.limited, i, i+1)
	}
}
