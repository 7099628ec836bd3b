package multilock

import (
	"time"

	"github.com/multilock/multilock-go/core/internal/clock"
)

// belief is how long this process may believe in a term: span from the instant
// at, which was read before the request that the store granted was sent. It is
// immutable; a renewal makes a new one.
//
// The deadline is judged on two clocks, since neither alone can be trusted: the
// monotonic clock stops while a machine is suspended, the wall clock may be
// stepped. Where they disagree Linux' CLOCK_BOOTTIME decides.
type belief struct {
	at        clock.Reading
	boot      int64
	hasBoot   bool
	span, tol int64 // nanoseconds
	over      error // why the term is over; then nothing else counts
	lease     int64 // set with over: the monotonic time by which the store lets go
}

// instant is a look at all clocks, taken before a request.
type instant struct {
	clock.Reading
	boot    int64
	hasBoot bool
}

func readInstant(c clock.Clock) instant {
	// boot first: an earlier origin ends the belief earlier
	boot, ok := c.Boot()
	return instant{Reading: c.Now(), boot: boot, hasBoot: ok}
}

// newBelief starts at t0 and lasts span. tol is how far apart the two clocks may
// be read without suspicion: half the margin absorbs it.
func newBelief(t0 instant, span, margin time.Duration) *belief {
	return &belief{
		at: t0.Reading, boot: t0.boot, hasBoot: t0.hasBoot,
		span: int64(span), tol: int64(min(5*time.Millisecond, margin/2)),
	}
}

type verdict int8

const (
	believed   verdict = iota // the term may be believed
	expired                   // the deadline has passed
	clockFault                // the clocks contradict each other
)

// judge looks at the clocks now.
func (x *belief) judge(c clock.Clock) verdict {
	for try := 0; ; try++ {
		now := c.Now()
		m, w := now.Mono-x.at.Mono, now.Wall-x.at.Wall
		if m >= x.span || w >= x.span {
			return expired
		}
		d := w - m
		if -x.tol <= d && d <= x.tol {
			return believed
		}
		if x.hasBoot {
			if b, ok := c.Boot(); ok {
				if b-x.boot < x.span {
					return believed
				}
				return expired
			}
		}
		if d > 0 {
			return believed // stepped forward or suspended, and still within the span on both
		}
		if try == 3 { // not a preemption between the two readings
			return clockFault
		}
	}
}

// left is the time until the belief ends, judged by the clock that is furthest;
// it is at most the span and may be negative.
func (x *belief) left(c clock.Clock) time.Duration {
	now := c.Now()
	m, w := now.Mono-x.at.Mono, now.Wall-x.at.Wall
	gone := max(m, w)
	if d := w - m; x.hasBoot && (d < -x.tol || d > x.tol) {
		if b, ok := c.Boot(); ok {
			gone = max(gone, b-x.boot)
		}
	}
	return time.Duration(x.span - max(gone, 0))
}
