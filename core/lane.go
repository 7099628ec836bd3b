package multilock

import (
	"context"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/seam"
)

// maxStuck is how many workers of a lane are replaced when they hang in calls
// that were given up. Beyond it calls fail at once instead of piling up.
const maxStuck = 4

// lane runs driver calls on a few goroutines, so that no elector waits in a
// driver: whoever asked may give a call up while it is still under way. A
// worker is there only while there is something to do.
type lane struct {
	b     *Backend
	limit int // calls that may run at once

	mu      sync.Mutex
	queue   []*call
	running int // workers, the stuck ones included
	stuck   int // workers in a call that was given up
	closed  bool
	busy    sync.WaitGroup
}

// call is one driver call on a lane.
type call struct {
	limit   time.Duration // how long it may run, counted from its start; 0 means no limit
	acquire *acquireCall  // set if it may be joined with others into a batch
	alone   bool          // it was in a batch, and is to be sent by itself
	do      func(ctx context.Context)
	// late is called if the call ends, or starts, after it was given up; done is not
	// closed by it then. It may be nil.
	late func()
	// after is called once when the call has ended or was given up. It may be nil.
	after func()

	mu     sync.Mutex
	state  callState
	cancel func()        // gives the running call up
	done   chan struct{} // closed when the call has ended or was given up
}

type callState int8

const (
	callQueued callState = iota
	callRunning
	callDone
	callGivenUp
)

func newCall(limit time.Duration, do func(ctx context.Context)) *call {
	return &call{limit: limit, do: do, done: make(chan struct{})}
}

// submit queues c; urgent puts it in front. It fails, without having sent
// anything, if every worker hangs and none may be replaced.
func (l *lane) submit(c *call, urgent bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if l.stuck >= l.limit+maxStuck {
		l.b.stats.refused.Add(1)
		return errTooManyStuck
	}
	if urgent {
		l.queue = append(l.queue, nil)
		copy(l.queue[1:], l.queue)
		l.queue[0] = c
	} else {
		l.queue = append(l.queue, c)
	}
	l.spawn()
	return nil
}

// spawn starts a worker if there is work and room; the lock is held.
func (l *lane) spawn() {
	if len(l.queue) > 0 && l.running-min(l.stuck, maxStuck) < l.limit {
		l.running++
		l.busy.Add(1)
		l.b.hands.run(l.work)
	}
}

func (l *lane) work() {
	defer l.busy.Done()
	for {
		batch := l.take()
		if batch == nil {
			return
		}
		l.run(batch)
	}
}

// take pops the next call, with further acquires if they can share a round trip.
// It returns nil, and forgets the worker, if nothing is queued or a replaced
// worker has come back and there are too many.
func (l *lane) take() []*call {
	l.mu.Lock()
	defer l.mu.Unlock()
	var batch []*call
	for len(l.queue) > 0 && l.running-min(l.stuck, maxStuck) <= l.limit {
		c := l.queue[0]
		if len(batch) > 0 && (!batch[0].joins() || !c.joins() || len(batch) >= l.b.acquireBatch) {
			break // only acquires share a round trip
		}
		l.queue[0] = nil
		l.queue = l.queue[1:]
		c.mu.Lock()
		if c.state == callQueued {
			c.state = callRunning
			batch = append(batch, c)
		}
		c.mu.Unlock()
	}
	if batch == nil {
		l.running--
		if len(l.queue) == 0 {
			l.queue = nil
		}
	}
	return batch
}

// run executes a batch: one call, or several acquires joined.
func (l *lane) run(batch []*call) {
	first := batch[0]
	ctx, cancel := context.WithCancel(l.b.ctx)
	defer cancel()
	var mu sync.Mutex // guards the following
	returned := false // the driver has
	hung := false     // this worker counts as stuck
	giveUp := func() {
		for _, c := range batch {
			c.end(callGivenUp)
		}
		cancel()
		mu.Lock()
		defer mu.Unlock()
		if !returned && !hung {
			hung = true
			l.mark(1)
		}
	}
	first.mu.Lock()
	if len(batch) == 1 {
		first.cancel = giveUp
		if first.state == callGivenUp { // between being taken and now
			first.mu.Unlock()
			return
		}
	}
	first.mu.Unlock()
	if first.limit > 0 {
		t := l.b.clock.AfterFunc(first.limit, giveUp)
		defer t.Stop()
	}
	if len(batch) == 1 {
		first.do(ctx)
	} else {
		l.b.acquireMany(ctx, batch)
	}
	mu.Lock()
	returned = true
	back := hung
	mu.Unlock()
	if back {
		l.mark(-1)
	}
	for _, c := range batch {
		if len(batch) > 1 && c.alone {
			l.again(c)
		} else if !c.end(callDone) && c.late != nil {
			c.late()
		}
	}
}

// again queues a call of a batch that has sent nothing for it, unless it was given
// up. Its time begins anew.
func (l *lane) again(c *call) {
	l.mu.Lock()
	c.mu.Lock()
	queued := c.state == callRunning && !l.closed
	if queued {
		c.state = callQueued
	}
	c.mu.Unlock()
	if queued {
		l.queue = append(l.queue, c)
		l.spawn()
	}
	l.mu.Unlock()
	if !queued {
		c.end(callDone) // without an answer
	}
}

// joins reports whether c may share a round trip.
func (c *call) joins() bool { return c.acquire != nil && !c.alone }

// close refuses new calls. Calls under way can be waited for through l.busy.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// mark counts workers that hang, and lets a replacement start.
func (l *lane) mark(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stuck += n
	if n > 0 {
		l.b.stats.abandoned.Add(1)
		l.spawn()
	}
}

// end moves a call to its final state once; it reports whether this was it.
func (c *call) end(s callState) bool {
	c.mu.Lock()
	if c.state == callDone || c.state == callGivenUp {
		c.mu.Unlock()
		return false
	}
	c.state = s
	close(c.done)
	c.mu.Unlock()
	if c.after != nil {
		c.after()
	}
	return true
}

// giveUp stops waiting for c. A queued call is never sent, which the result
// tells; a running one is cancelled and its worker replaced until it returns.
func (c *call) giveUp() (neverSent bool) {
	c.mu.Lock()
	if c.state == callQueued {
		c.state = callGivenUp
		close(c.done)
		c.mu.Unlock()
		return true
	}
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	} else {
		c.end(callGivenUp) // one of a batch: the others still wait for their answers
	}
	return false
}

// answered reports whether c ended with an answer; it is called after done.
func (c *call) answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == callDone
}

// acquireCall is one attempt and its answer.
type acquireCall struct {
	req   driver.AcquireRequest
	fresh bool // the nonce was never sent before: a read may answer for it
	t0    instant
	start time.Time
	grant driver.Grant
	err   error
}

// acquireMany makes several attempts in one round trip: all of them if the driver
// can, or else a read of all groups. Those that are free are then tried one by one:
// an attempt that waited for hundreds before it would have no time left.
func (b *Backend) acquireMany(ctx context.Context, batch []*call) {
	t0, start := readInstant(b.clock), time.Now()
	reqs := make([]driver.AcquireRequest, len(batch))
	for i, c := range batch {
		c.acquire.t0, c.acquire.start, c.acquire.err = t0, start, errAbandoned
		reqs[i] = c.acquire.req
	}
	if b.batchAcquirer != nil {
		b.stats.acquires.Add(1)
		var mu sync.Mutex
		b.batchAcquirer.AcquireBatch(ctx, reqs, func(i int, g driver.Grant, err error) {
			mu.Lock()
			defer mu.Unlock()
			a := batch[i].acquire
			a.grant, a.err = g, err
		})
		return
	}
	held := make(map[string]driver.Record, len(batch))
	groups := make([]string, 0, len(batch))
	for _, c := range batch {
		if c.acquire.fresh {
			groups = append(groups, c.acquire.req.Group)
		}
	}
	if len(groups) > 0 {
		b.stats.reads.Add(1)
		var mu sync.Mutex
		b.batchReader.Leaders(ctx, groups, func(g string, rec driver.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				held[g] = rec
			}
		})
	}
	for _, c := range batch {
		a := c.acquire
		if rec, ok := held[a.req.Group]; ok && a.fresh {
			a.err = &driver.HeldError{Record: rec}
		} else {
			c.alone = true
		}
	}
}

// acquireOne makes one attempt.
func (b *Backend) acquireOne(ctx context.Context, a *acquireCall) {
	b.stats.acquires.Add(1)
	a.start = time.Now()
	a.t0 = readInstant(b.clock) // before the request: whatever the store grants, it grants later
	a.grant, a.err = b.drv.Acquire(ctx, a.req)
	if b.fault == seam.AnchorAfterReply {
		a.t0 = readInstant(b.clock)
	}
}
