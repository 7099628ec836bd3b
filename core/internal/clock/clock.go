// Package clock is the seam through which core reads time. Production code uses
// [System]; the simulation gives each node a clock of its own that pauses,
// suspends and drifts.
package clock

import (
	"math/rand/v2"
	"time"
)

// Reading is one look at the clocks, in nanoseconds from arbitrary origins.
type Reading struct {
	Mono int64 // runs steadily; on Linux and macOS it stops while the machine is suspended
	Wall int64 // runs while suspended; somebody may step it
}

// Clock reads time and makes timers. Its methods may be called concurrently.
type Clock interface {
	Now() Reading
	// Boot reads a steady clock that goes on while the machine is suspended;
	// false where the system has none that core can read.
	Boot() (int64, bool)
	// AfterFunc calls f in its own goroutine after d of monotonic time.
	AfterFunc(d time.Duration, f func()) Timer
	// Int64N returns a random number in [0, n), for jitter.
	Int64N(n int64) int64
}

// Timer is what AfterFunc returns; *time.Timer is one.
type Timer interface {
	Stop() bool
	Reset(d time.Duration) bool
}

// Base is when [System]'s monotonic readings are 0.
var Base = time.Now()

// System is the real clock.
type System struct{}

// Now implements Clock with a single time.Now, which reads both clocks at once.
func (System) Now() Reading {
	now := time.Now()
	return Reading{Mono: int64(now.Sub(Base)), Wall: now.UnixNano()}
}

// Boot implements Clock.
func (System) Boot() (int64, bool) { return boottime() }

// AfterFunc implements Clock.
func (System) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// Int64N implements Clock.
func (System) Int64N(n int64) int64 { return rand.Int64N(n) }
