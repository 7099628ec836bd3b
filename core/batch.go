package multilock

import (
	"context"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/seam"
)

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
