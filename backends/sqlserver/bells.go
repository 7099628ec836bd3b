package sqlserver

import (
	"context"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// A doorbell is an application lock per group that its leader holds on a
// connection of its own. Followers queue for it, so the server hands it to one
// of them when the leader resigns or its connection dies; the one that gets it
// wakes its electors and gives it back unless one of them wins the row.
//
// The lock is a hint only. It is re-entrant per session, so all electors of a
// driver share one bell and one connection per group.
type bells struct {
	d      *leaseDriver
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	// sinkMu is held for reading while a method of the sink runs.
	sinkMu sync.RWMutex
	sink   driver.Sink

	mu     sync.Mutex
	max    int
	groups map[string]*bell // every group that is watched or led
	slots  int              // bells with a connection
	doubts int              // how often connections turned out to be broken
	poll   bool             // the poller runs
	closed bool
}

// bell is what the driver knows of one group.
type bell struct {
	group   string
	watched bool
	terms   map[driver.Nonce]time.Time // led by us, at most until then
	slot    bool                       // a loop with a connection serves it
	mute    bool                       // it rings for nobody now: poll instead
	expires time.Time                  // when the last known holder's record ends
	changed chan struct{}              // closed and replaced when the above changes
}

func newBells(d *leaseDriver) *bells {
	b := &bells{d: d, max: d.opts.MaxDoorbells, groups: make(map[string]*bell)}
	// A pool of somebody else's may be too small for us to pin connections.
	if limit := d.db.Stats().MaxOpenConnections; d.own == nil && limit > 0 {
		b.max = min(b.max, limit-steadyConns-2)
	}
	b.ctx, b.cancel = context.WithCancel(d.ctx)
	return b
}

// began notes a new term of ours, live at least until then.
func (b *bells) began(group string, nonce driver.Nonce, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	g := b.group(group)
	g.leading(time.Now()) // forgets those that ended untold
	g.terms[nonce] = until
	g.notify()
	b.serve(g)
}

// renewed notes that a term lives on. One that is over, but whose renewal was
// answered late, stays over.
func (b *bells) renewed(group string, nonce driver.Nonce, until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.groups[group]; g != nil {
		if old, known := g.terms[nonce]; known && until.After(old) {
			g.terms[nonce] = until
		}
	}
}

// ended notes that a term of ours is over. A resigned one leaves the group free,
// so other electors of this process may try at once.
func (b *bells) ended(group string, nonce driver.Nonce, resigned bool) {
	b.mu.Lock()
	g := b.groups[group]
	wake := false
	if g != nil {
		if _, ours := g.terms[nonce]; ours {
			delete(g.terms, nonce)
			g.notify()
		}
		if resigned {
			g.expires = time.Time{}
			wake = g.watched
		}
		b.startPoller(g)
		b.drop(g)
	}
	b.mu.Unlock()
	if wake {
		b.wake(g)
	}
}

// held notes that somebody else leads, for at most remaining.
func (b *bells) held(group string, remaining time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.groups[group]; g != nil {
		g.expires = time.Now().Add(remaining)
		g.notify()
		b.startPoller(g) // a term of ours may have ended untold
	}
}

// doubt is called when a request failed without an answer: the connections of
// held bells may be as broken, which only using them shows.
func (b *bells) doubt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.doubts++
	for _, g := range b.groups {
		g.notify()
	}
}

// group returns the entry of a group. The caller holds mu.
func (b *bells) group(name string) *bell {
	g := b.groups[name]
	if g == nil {
		g = &bell{group: name, terms: make(map[driver.Nonce]time.Time), changed: make(chan struct{})}
		b.groups[name] = g
	}
	return g
}

// drop forgets a group nobody is interested in. The caller holds mu.
func (b *bells) drop(g *bell) {
	if !g.watched && len(g.terms) == 0 && !g.slot && b.groups[g.group] == g {
		delete(b.groups, g.group)
	}
}

// notify wakes the loop of the bell. The caller holds mu.
func (g *bell) notify() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// serve starts a loop for the group if there is a connection to spare, and the
// poller for those without. The caller holds mu.
func (b *bells) serve(g *bell) {
	if b.closed {
		return
	}
	if !g.slot && b.slots < b.max {
		g.slot = true
		b.slots++
		b.done.Add(1)
		go b.loop(g)
	}
	b.startPoller(g)
}

// leading returns until when a term of ours lasts. The caller holds mu.
func (g *bell) leading(now time.Time) (until time.Time, ok bool) {
	for nonce, end := range g.terms {
		if !end.After(now) {
			delete(g.terms, nonce) // nobody told us that it ended
			continue
		}
		if end.After(until) {
			until, ok = end, true
		}
	}
	return until, ok
}

// view is a bell's state at one moment.
type view struct {
	watched, leading bool
	until, expires   time.Time
	doubts           int
	changed          <-chan struct{}
}

func (b *bells) view(g *bell) view {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, leading := g.leading(time.Now())
	return view{watched: g.watched, leading: leading, until: until, expires: g.expires, doubts: b.doubts, changed: g.changed}
}

func (v view) wanted() bool { return v.watched || v.leading }

func (b *bells) setMute(g *bell, mute bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g.mute = mute
	b.startPoller(g)
}

// wake tells the electors of the group to try again.
func (b *bells) wake(g *bell) {
	b.mu.Lock()
	watched := g.watched
	b.mu.Unlock()
	b.sinkMu.RLock()
	defer b.sinkMu.RUnlock()
	if watched && b.sink != nil {
		b.sink.Wake(g.group)
	}
}

// close ends all loops, giving held locks back.
func (b *bells) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.done.Wait()
}
