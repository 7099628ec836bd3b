package multilock

import (
	"context"
	"sync"
	"time"
)

// call is one driver call on a lane.
type call struct {
	limit   time.Duration // how long it may run, counted from its start; 0 means no limit
	acquire *acquireCall  // set if it may be joined with others into a batch
	alone   bool          // it was in a batch, and is to be sent by itself
	do      func(ctx context.Context)
	// then is called once, in a goroutine that it may keep, when the call has ended
	// or was given up. It may be nil.
	then func()
	// late is called if the call ends after it was given up. It may be nil.
	late func()

	mu     sync.Mutex
	state  callState
	cancel func() // gives the running call up
}

type callState int8

const (
	callQueued callState = iota
	callRunning
	callDone
	callGivenUp // while it was under way: it may have an effect, and a late answer
	callUnsent  // given up before it was sent
)

func newCall(limit time.Duration, do func(ctx context.Context)) *call {
	return &call{limit: limit, do: do}
}

// joins reports whether c may share a round trip.
func (c *call) joins() bool { return c.acquire != nil && !c.alone }

// begin notes what gives c up from now on. It reports false if it was given up
// since it was taken.
func (c *call) begin(cancel func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = cancel
	return c.state == callRunning
}

// end moves a call to its final state once; it reports whether this was it, and
// then its then is the caller's to run.
func (c *call) end(s callState) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state >= callDone {
		return false
	}
	c.state = s
	return true
}

// outcome returns how c has ended; its then may call it.
func (c *call) outcome() callState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}
