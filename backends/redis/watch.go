package redis

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
)

// watch is the subscription: which groups are watched, and through which feed.
// There is one feed, or one per master of a cluster, where wake-ups stay within
// the shard.
type watch struct {
	d    *redisDriver
	sink driver.Sink

	ctx    context.Context // ends with the subscription
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	groups map[string]*watched
	feeds  map[string]*feed // by address; "" if not in a cluster
	fails  int              // in a row
	closed bool
}

// How long to wait before a watch that failed is tried again.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// watched is one group.
type watched struct {
	feed *feed
	// inForce is closed when the server has confirmed the watch, or refused it.
	inForce chan struct{}
	pending bool  // inForce is open: an Add may wait for it
	missing bool  // not confirmed since the last loss of the connection
	err     error // why the watch is refused; only a misconfiguration ends an Add
}

// Watch implements driver.Watcher.
func (d *redisDriver) Watch(ctx context.Context, sink driver.Sink) (driver.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := &watch{d: d, sink: sink, groups: make(map[string]*watched), feeds: make(map[string]*feed)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		w.cancel()
		return nil, driver.ErrClosed
	}
	if d.watch != nil {
		w.cancel()
		return nil, errors.New("redis: Watch is called once")
	}
	d.watch = w
	return w, nil
}

// Add implements driver.Subscription. It returns when the server has confirmed
// the watch. If the server cannot be asked now, or takes longer than ctx lasts,
// Add succeeds all the same, and the group is woken as soon as the watch is in
// force.
func (w *watch) Add(ctx context.Context, group string) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return driver.ErrClosed
	}
	g := w.groups[group]
	if g == nil {
		g = &watched{inForce: make(chan struct{}), pending: true}
		w.groups[group] = g
	}
	w.mu.Unlock()
	w.place(ctx, group)
	select {
	case <-g.inForce:
	case <-ctx.Done():
	case <-w.ctx.Done():
		return driver.ErrClosed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if g.err != nil {
		delete(w.groups, group)
		if g.feed != nil {
			g.feed.send(group, false) // or it would spoil a later SUBSCRIBE of all
		}
		return g.err
	}
	if g.pending { // whoever waits no longer is to be woken
		g.pending, g.missing = false, true
	}
	return nil
}

// Remove implements driver.Subscription.
func (w *watch) Remove(group string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[group]
	if g == nil {
		return
	}
	delete(w.groups, group)
	if g.feed != nil && !w.closed {
		g.feed.send(group, false)
	}
}

// Close implements driver.Subscription.
func (w *watch) Close() error {
	w.mu.Lock()
	w.closed = true
	feeds := make([]*feed, 0, len(w.feeds))
	for _, f := range w.feeds {
		feeds = append(feeds, f)
	}
	w.mu.Unlock()
	w.cancel()
	if n := w.d.pushes.net; n != nil {
		n.abort() // a feed may be connecting
	}
	for _, f := range feeds {
		f.close()
	}
	w.wg.Wait()
	return nil
}

// place puts a group on the feed that hears of it.
func (w *watch) place(ctx context.Context, group string) {
	addr, c := "", w.d.pushes.client()
	if cluster, ok := c.(*goredis.ClusterClient); ok {
		node, err := cluster.MasterForKey(ctx, w.d.key(group))
		if err != nil {
			w.failed(group, classify(ctx, err, false))
			w.later([]string{group})
			return
		}
		addr, c = node.Options().Addr, node
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[group]
	if g == nil || w.closed {
		return
	}
	f := w.feeds[addr]
	if f == nil {
		f = newFeed(w, addr, c)
		w.feeds[addr] = f
		w.wg.Go(f.run)
	}
	g.feed = f
	f.send(group, true)
}

// later places groups again after a while, which grows while nothing works.
func (w *watch) later(groups []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(groups) == 0 {
		return
	}
	d := min(minBackoff<<min(w.fails, 10), maxBackoff)
	w.fails++
	d = d/2 + rand.N(d)
	w.wg.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-w.ctx.Done():
			return
		}
		if cluster, ok := w.d.pushes.client().(*goredis.ClusterClient); ok {
			cluster.ReloadState(w.ctx)
		}
		for _, group := range groups {
			w.place(w.ctx, group)
		}
	})
}

// failed tells an Add that waits why its watch is not in force; it goes on
// waiting unless that is a misconfiguration.
func (w *watch) failed(group string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[group]
	if g == nil {
		return
	}
	if g.pending {
		if errors.Is(err, driver.ErrMisconfigured) || errors.Is(err, driver.ErrClosed) {
			g.err = err
		}
		g.pending, g.missing = false, g.err == nil
		close(g.inForce)
		return
	}
	g.missing = true
}

// confirmed notes that the server now watches a group for f. Changes before that
// may have been missed, so whoever does not wait for the confirmation is woken.
func (w *watch) confirmed(f *feed, group string) {
	w.mu.Lock()
	g := w.groups[group]
	if g == nil || g.feed != f {
		w.mu.Unlock()
		return
	}
	w.fails = 0
	if g.pending {
		g.pending = false
		close(g.inForce)
		w.mu.Unlock()
		return
	}
	was := g.missing
	g.missing = false
	all := was
	if was {
		for _, other := range w.groups {
			if other.feed == f && other.missing {
				all = false
				break
			}
		}
	}
	w.mu.Unlock()
	switch {
	case !was, w.d.sharded:
		w.sink.Wake(group)
	case all: // the last one after a reconnect
		w.sink.WakeAll()
	}
}

// died takes note of the end of f and places its groups anew.
func (w *watch) died(f *feed, err error) {
	w.mu.Lock()
	if w.feeds[f.addr] == f {
		delete(w.feeds, f.addr)
	}
	var groups []string
	for name, g := range w.groups {
		if g.feed == f {
			groups = append(groups, name)
		}
	}
	w.mu.Unlock()
	for _, name := range groups {
		w.failed(name, err)
	}
	w.later(groups)
}

// moved places a group anew whose slot has left the server of f.
func (w *watch) moved(f *feed, group string) {
	w.mu.Lock()
	g := w.groups[group]
	ours := g != nil && g.feed == f
	w.mu.Unlock()
	if ours {
		w.failed(group, errMoved)
		w.later([]string{group})
	}
}

var errMoved = errors.New("redis: the slot of the group has moved")

// group is the inverse of key.
func (w *watch) group(channel string) (string, bool) {
	s, ok := strings.CutPrefix(channel, w.d.o.KeyPrefix+":{")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, "}")
}
