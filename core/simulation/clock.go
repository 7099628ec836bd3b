package simulation

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/internal/clock"
)

// machine is one simulated computer: its clocks, its timers, and whether it runs.
// Real time means the time of the synctest bubble.
type machine struct {
	rate    float64 // of its clocks against real time
	hasBoot bool
	start   time.Time

	mu        sync.Mutex
	rng       *rand.Rand
	gate      chan struct{} // not nil while it does not run; closed when it does again
	suspended time.Time     // since when, if its monotonic clock stands
	slept     time.Duration // real time its monotonic clock stood so far
	step      time.Duration // by how much its wall clock was stepped
	timers    map[*timer]struct{}
}

func newMachine(rng *rand.Rand, rate float64, hasBoot bool) *machine {
	return &machine{rate: rate, hasBoot: hasBoot, start: time.Now(), rng: rng, timers: make(map[*timer]struct{})}
}

func (m *machine) scale(d time.Duration) int64 { return int64(float64(d) * m.rate) }

// mono is the monotonic clock; the lock is held.
func (m *machine) mono() int64 {
	d := time.Since(m.start) - m.slept
	if !m.suspended.IsZero() {
		d -= time.Since(m.suspended)
	}
	return m.scale(d)
}

// Now implements clock.Clock.
func (m *machine) Now() clock.Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	return clock.Reading{Mono: m.mono(), Wall: m.scale(time.Since(m.start)) + int64(m.step)}
}

// Boot implements clock.Clock.
func (m *machine) Boot() (int64, bool) {
	if !m.hasBoot {
		return 0, false
	}
	return m.scale(time.Since(m.start)), true
}

// Int64N implements clock.Clock.
func (m *machine) Int64N(n int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rng.Int64N(n)
}

// pass blocks while the machine does not run. Everything that wakes a goroutine
// of the machine passes here: timers, replies, wake-ups, and its own work.
func (m *machine) pass() {
	for {
		m.mu.Lock()
		gate := m.gate
		m.mu.Unlock()
		if gate == nil {
			return
		}
		<-gate
	}
}

// running reports whether the machine may execute an instruction now.
func (m *machine) running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gate == nil
}

// pause stops the processes; all clocks go on (SIGSTOP).
func (m *machine) pause() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gate == nil {
		m.gate = make(chan struct{})
	}
}

// suspend stops the machine; wall and boot clock go on, timers do not.
func (m *machine) suspend() {
	m.pause()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.suspended.IsZero() {
		m.suspended = time.Now()
		for t := range m.timers {
			t.real.Stop()
		}
	}
}

// resume lets the machine run again after pause or suspend.
func (m *machine) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gate == nil {
		return
	}
	if !m.suspended.IsZero() {
		m.slept += time.Since(m.suspended)
		m.suspended = time.Time{}
		for t := range m.timers {
			t.arm()
		}
	}
	close(m.gate)
	m.gate = nil
}

// stepWall steps the wall clock.
func (m *machine) stepWall(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step += d
}

// timer fires by the machine's monotonic clock. Its fields are under the
// machine's lock.
type timer struct {
	m    *machine
	f    func()
	at   int64
	real *time.Timer
	gen  int // tells a firing from one that was stopped or reset meanwhile
}

// AfterFunc implements clock.Clock.
func (m *machine) AfterFunc(d time.Duration, f func()) clock.Timer {
	t := &timer{m: m, f: f}
	t.Reset(d)
	return t
}

// arm starts the real timer; the lock is held.
func (t *timer) arm() {
	if t.real != nil {
		t.real.Stop()
	}
	t.gen++
	gen := t.gen
	if !t.m.suspended.IsZero() {
		t.real = time.NewTimer(time.Hour) // resume arms it
		t.real.Stop()
		return
	}
	left := time.Duration(float64(t.at-t.m.mono()) / t.m.rate)
	t.real = time.AfterFunc(max(left+1, 0), func() { t.fire(gen) })
}

func (t *timer) fire(gen int) {
	t.m.pass()
	t.m.mu.Lock()
	due := t.gen == gen
	_, set := t.m.timers[t]
	if due {
		delete(t.m.timers, t)
	}
	t.m.mu.Unlock()
	if due && set {
		t.f()
	}
}

// Stop implements clock.Timer.
func (t *timer) Stop() bool {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	_, set := t.m.timers[t]
	delete(t.m.timers, t)
	t.gen++
	t.real.Stop()
	return set
}

// Reset implements clock.Timer.
func (t *timer) Reset(d time.Duration) bool {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	_, set := t.m.timers[t]
	t.at = t.m.mono() + int64(max(d, 0))
	t.m.timers[t] = struct{}{}
	t.arm()
	return set
}
