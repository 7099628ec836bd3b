package multilock

import (
	"time"

	"github.com/multilock/multilock-go/core/internal/clock"
)

// alarm is one timer for the deadlines of many, which its owner looks at when it
// rings, to set it again. It is never moved to a later time, nor stopped before the
// end, and so rings now and then when nothing is due: to set a timer wakes a thread
// as often as not, which takes as long as a fast store's answer. Its owner's lock
// guards it.
type alarm struct {
	timer clock.Timer
	at    int64 // the monotonic time at which it rings; 0 if it is not set
}

// set lets it ring at the monotonic time at, or before.
func (a *alarm) set(c clock.Clock, at int64, ring func()) {
	if a.at != 0 && a.at <= at {
		return
	}
	a.at = at
	d := time.Duration(max(0, at-c.Now().Mono))
	if a.timer == nil {
		a.timer = c.AfterFunc(d, ring)
	} else {
		a.timer.Reset(d)
	}
}

// stop ends it: a timer that is set keeps its owner from being collected.
func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
	a.at = 0
}

// rung notes that it rings, before its owner looks.
func (a *alarm) rung() { a.at = 0 }
