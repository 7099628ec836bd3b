package multilock

import (
	"sync"
)

// maxStuck is how many workers of a lane are replaced when they hang in calls
// that were given up. Beyond it calls fail at once instead of piling up.
const maxStuck = 4

// lane makes driver calls, a few at a time, so that nobody waits in a driver:
// what follows a call is its then, which is run by whoever made the call when it
// has ended, or by another goroutine if it is given up before. A worker is there
// only while there is something to do, and may be the one that brought the call:
// to wake another goroutine takes as long as a fast store's answer.
type lane struct {
	b     *Backend
	limit int // calls that may run at once

	mu      sync.Mutex
	queue   []*call
	running int // workers, the stuck ones included
	stuck   int // workers in a call that was given up
	closed  bool
	busy    sync.WaitGroup

	limited []*making // batches under way that have a limit, and were not given up
	limits  alarm
}

// submit queues c; urgent puts it in front. It fails, without having sent
// anything and without its then, if every worker hangs and none may be replaced.
func (l *lane) submit(c *call, urgent bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.enqueue(c, urgent); err != nil {
		return err
	}
	l.spawn()
	return nil
}

// perform is submit for one of the hands, which makes the call itself if there is
// room.
func (l *lane) perform(c *call, urgent bool) error {
	l.mu.Lock()
	err := l.enqueue(c, urgent)
	works := err == nil && l.enlist()
	l.mu.Unlock()
	if works {
		l.work()
	}
	return err
}

// enqueue queues c; the lock is held.
func (l *lane) enqueue(c *call, urgent bool) error {
	if err := l.full(); err != nil {
		if !c.end(callUnsent) {
			return nil // it was given up, and has its then
		}
		return err
	}
	if urgent {
		l.queue = append(l.queue, nil)
		copy(l.queue[1:], l.queue)
		l.queue[0] = c
	} else {
		l.queue = append(l.queue, c)
	}
	return nil
}

// full says why no call is taken; the lock is held.
func (l *lane) full() error {
	if l.closed {
		return ErrClosed
	}
	if l.stuck >= l.limit+maxStuck {
		l.b.stats.refused.Add(1)
		return errTooManyStuck
	}
	return nil
}

// enlist counts another worker if there is work and room; the lock is held.
func (l *lane) enlist() bool {
	if len(l.queue) == 0 || l.running-min(l.stuck, maxStuck) >= l.limit {
		return false
	}
	l.running++
	l.busy.Add(1)
	return true
}

// spawn starts a worker if there is work and room; the lock is held.
func (l *lane) spawn() {
	if l.enlist() {
		l.b.hands.run(l.work)
	}
}

// work makes calls until none is queued, and then goes on with what follows the
// last.
func (l *lane) work() {
	defer l.busy.Done()
	var ended []func()
	for batch := l.take(); batch != nil; {
		ended = l.make(batch)
		if batch = l.take(); batch != nil {
			l.b.hands.runAll(ended)
		}
	}
	if n := len(ended); n > 0 {
		l.b.hands.runAll(ended[:n-1])
		ended[n-1]()
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
	if !queued && c.end(callDone) { // without an answer
		l.follow(c)
	}
}

// close refuses new calls. Calls under way can be waited for through l.busy.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// giveUp stops waiting for c, which may not have been submitted yet. A call that
// was not taken is never sent; a running one is cancelled and its worker replaced
// until it returns.
func (l *lane) giveUp(c *call) {
	c.mu.Lock()
	cancel, over := c.cancel, false
	if c.state == callQueued {
		c.state, over = callUnsent, true
	}
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	} else { // never sent, or one of a batch: the others still wait for their answers
		over = over || c.end(callGivenUp)
	}
	if over {
		l.follow(c)
	}
}

// follow has another goroutine do what follows c.
func (l *lane) follow(c *call) {
	if c.then != nil {
		l.b.hands.run(c.then)
	}
}
