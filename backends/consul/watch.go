package consul

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// watchWait is how long an idle blocking query lasts. Consul allows ten minutes;
// this is shorter so that a connection that went silent is noticed.
const watchWait = time.Minute

// subscription watches the groups this process follows. The first few have a
// blocking query each. As every one occupies a connection, and an agent refuses
// more than 200 of one address, the others share the doorbells, which tell of
// resignations, and a sweep, which finds what expired.
type subscription struct {
	s      *store
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	gate sync.RWMutex // held while the sink is called
	off  bool         // under gate
	sink driver.Sink

	mu       sync.Mutex
	closed   bool
	queries  map[string]*keyWatch
	shards   [bells]shard
	sweeping bool
	soon     chan struct{} // makes the next sweep come now; holds one
}

// shard is the groups that share a doorbell.
type shard struct {
	groups map[string]*seen
	cancel context.CancelFunc // of its blocking query, which runs while there are groups
}

// seen is what the last look at a key showed.
type seen struct {
	known bool
	free  bool
	nonce string
	index uint64 // of the last change, 0 without a key
	rung  bool   // a doorbell told it, which has no index of the key
}

// look takes a new state and reports whether a follower should try: once when the
// key becomes free, also if a whole term began and ended since the last look, or
// once when another term has begun and nobody saw it free in between.
func (v *seen) look(p *api.KVPair) bool {
	now := seen{known: true, free: !locked(p)}
	if !now.free {
		now.nonce = decode(p).Nonce
	}
	if p != nil {
		now.index = p.ModifyIndex
	}
	was := *v
	*v = now
	switch {
	case now.free:
		return !was.known || !was.free || !was.rung && was.index != now.index
	default:
		return was.known && !was.free && was.nonce != now.nonce
	}
}

// Watch implements driver.Watcher.
func (s *store) Watch(_ context.Context, sink driver.Sink) (driver.Subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, driver.ErrClosed
	}
	sub := &subscription{s: s, sink: sink, queries: make(map[string]*keyWatch), soon: make(chan struct{}, 1)}
	sub.ctx, sub.cancel = context.WithCancel(s.ctx)
	s.sub = sub
	return sub, nil
}

func (s *store) subscription() *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sub
}

// Add implements driver.Subscription. It reads the index from which the watch
// goes on; if that fails, the watch begins later and wakes the group then.
func (sub *subscription) Add(ctx context.Context, group string) error {
	sub.mu.Lock()
	if sub.closed {
		sub.mu.Unlock()
		return driver.ErrClosed
	}
	if len(sub.queries) < sub.s.o.MaxWatches {
		own, cancel := context.WithCancel(sub.ctx)
		w := &keyWatch{sub: sub, ctx: own, cancel: cancel, group: group, calm: calm, tries: make(chan try, 1)}
		sub.queries[group] = w
		sub.wg.Add(1)
		sub.mu.Unlock()
		sub.start(ctx, own, sub.s.key(group), w.look)
		return nil
	}
	n := bellOf(group)
	sh := &sub.shards[n]
	if sh.groups == nil {
		sh.groups = make(map[string]*seen)
	}
	sh.groups[group] = &seen{}
	if !sub.sweeping {
		sub.sweeping = true
		sub.wg.Add(1)
		go sub.sweep()
	}
	if sh.cancel != nil {
		sub.mu.Unlock()
		return nil
	}
	own, cancel := context.WithCancel(sub.ctx)
	sh.cancel = cancel
	sub.wg.Add(1)
	sub.mu.Unlock()
	sub.start(ctx, own, sub.s.bellKey(n), sub.followBell(own, n))
	return nil
}

// Remove implements driver.Subscription.
func (sub *subscription) Remove(group string) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if w := sub.queries[group]; w != nil {
		w.cancel()
		delete(sub.queries, group)
		return
	}
	sh := &sub.shards[bellOf(group)]
	delete(sh.groups, group)
	if len(sh.groups) == 0 && sh.cancel != nil {
		sh.cancel()
		sh.cancel = nil
	}
}

// Close implements driver.Subscription.
func (sub *subscription) Close() error {
	sub.mu.Lock()
	sub.closed = true
	sub.mu.Unlock()
	sub.cancel()
	sub.gate.Lock()
	sub.off = true
	sub.gate.Unlock()
	sub.wg.Wait()
	return nil
}

// emit calls the sink unless the subscription is closed.
func (sub *subscription) emit(f func(driver.Sink)) {
	if sub == nil {
		return
	}
	sub.gate.RLock()
	defer sub.gate.RUnlock()
	if !sub.off {
		f(sub.sink)
	}
}

func (sub *subscription) wake(group string) { sub.emit(func(s driver.Sink) { s.Wake(group) }) }

func (sub *subscription) lost(c *claim) {
	sub.emit(func(s driver.Sink) { s.Lost(c.group, c.nonce) })
}

// follower handles the answers of one blocking query. index is what the next one
// would go on from, and again says that changes may have been missed since the
// last one. It returns whether there was news, and from where to go on.
type follower func(p *api.KVPair, index uint64, again bool) (news bool, next uint64)

// start looks once, so that nothing after its return is missed, and goes on in
// the background until own ends. ctx is that of the caller.
func (sub *subscription) start(ctx, own context.Context, key string, f follower) {
	p, index, err := sub.s.get(ctx, key, &api.QueryOptions{})
	if err == nil {
		_, index = f(p, index, false)
	}
	go func() {
		defer sub.wg.Done()
		sub.poll(own, key, index, f)
	}()
}

// poll repeats a blocking query. An index that goes backwards, as after a
// restore, starts it afresh.
func (sub *subscription) poll(ctx context.Context, key string, index uint64, f follower) {
	again := index == 0
	fails := 0
	for ctx.Err() == nil {
		begun := time.Now()
		limit, cancel := context.WithTimeout(ctx, watchWait+watchWait/16+10*time.Second)
		p, next, err := sub.s.get(limit, key, &api.QueryOptions{WaitIndex: index, WaitTime: watchWait})
		cancel()
		if err != nil {
			index, again = 0, true
			pause(ctx, 50*time.Millisecond<<min(fails, 7))
			fails++
			continue
		}
		fails = 0
		back := next < index
		news, next := f(p, next, again)
		again = back
		if back {
			next = 0
		}
		index = next
		if (back || !news) && time.Since(begun) < watchWait/2 {
			// Consul may answer early, for instance when a neighbour of a missing key
			// changed. What changes during the pause is seen after it.
			pause(ctx, 50*time.Millisecond)
		}
	}
}

// pause waits between half of d and d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) { wait(ctx, d/2+rand.N(d/2+1)) }

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// followBell handles the blocking query of a doorbell.
func (sub *subscription) followBell(ctx context.Context, n int) follower {
	var last api.KVPair // zero without a key
	first := true
	return func(p *api.KVPair, index uint64, again bool) (bool, uint64) {
		if p == nil {
			// It tells of itself by the next look, and all groups are read then.
			sub.s.hang(ctx, n)
			p = &api.KVPair{}
		} else {
			sub.s.hung[n].Store(true)
		}
		was, begins := last, first
		last, first = *p, false
		switch {
		case begins && !again:
		case again || p.ModifyIndex < was.ModifyIndex:
			sub.pass(ctx, n, false)
		case p.ModifyIndex == was.ModifyIndex:
			return false, index
		default:
			if was.ModifyIndex == 0 { // the first ring ever makes the key
				was.CreateIndex = p.ModifyIndex
			}
			if p.LockIndex != was.LockIndex+1 || p.CreateIndex != was.CreateIndex { // rings in between
				sub.pass(ctx, n, false)
			}
			sub.rung(n, decodeRing(p).Group)
		}
		return true, index
	}
}

// rung wakes the followers of a group that was freed.
func (sub *subscription) rung(n int, group string) {
	sub.mu.Lock()
	v := sub.shards[n].groups[group]
	if v != nil {
		*v = seen{known: true, free: true, rung: true}
	}
	sub.mu.Unlock()
	if v != nil {
		sub.wake(group)
	}
}

// pass reads the groups of a shard and wakes those that may be free. Old data
// will do, as a wake-up is only a hint; any server can answer then. Groups that
// this process leads are left out: each heartbeat confirms them.
func (sub *subscription) pass(ctx context.Context, n int, all bool) {
	sub.mu.Lock()
	groups := make([]string, 0, len(sub.shards[n].groups))
	for g := range sub.shards[n].groups {
		groups = append(groups, g)
	}
	sub.mu.Unlock()
	groups = sub.s.notLed(groups)
	q := &api.QueryOptions{AllowStale: all} // after a ring the server must have heard it
	sub.s.readMany(ctx, groups, q, func(g string, p *api.KVPair, err error) {
		if err != nil {
			return // the sweep comes again
		}
		sub.mu.Lock()
		v := sub.shards[n].groups[g]
		news := v != nil && (v.look(p) || v.free && all)
		sub.mu.Unlock()
		if news {
			sub.wake(g)
		}
	})
}

func (sub *subscription) sweepSoon() {
	select {
	case sub.soon <- struct{}{}:
	default:
	}
}

// sweep looks at all groups without a blocking query now and then, and when a
// session was seen to end: nothing rings when one does.
func (sub *subscription) sweep() {
	defer sub.wg.Done()
	for {
		t := time.NewTimer(sub.s.o.SweepInterval*9/10 + rand.N(sub.s.o.SweepInterval/10+1))
		stale := true // any server may answer
		select {
		case <-t.C:
		case <-sub.soon:
			stale = false // it must have seen that end
		case <-sub.ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
		any := false
		for n := range bells {
			sub.mu.Lock()
			some := len(sub.shards[n].groups) > 0
			sub.mu.Unlock()
			if some {
				any = true
				sub.pass(sub.ctx, n, stale)
			}
		}
		if any {
			continue
		}
		sub.mu.Lock()
		for n := range bells {
			any = any || len(sub.shards[n].groups) > 0
		}
		sub.sweeping = any
		sub.mu.Unlock()
		if !any {
			return
		}
	}
}
