package multilock

import (
	"context"
	"errors"
	"hash/fnv"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// watch fans the wake-ups of one subscription out to all runs of a Backend. A
// wake-up is a hint: the run tries, and the store decides.
type watch struct {
	b       *Backend
	watcher driver.Watcher // nil if the store cannot push
	// Add may take a round trip, and thousands of groups may begin at once. A group
	// keeps to one lane, so that its Add and Remove keep their order.
	lanes [watchLanes]*lane

	mu      sync.Mutex
	sub     driver.Subscription
	opening chan struct{} // closed when the Watch under way has returned; nil if none is
	closed  bool
	groups  map[string]*watched
}

// watchLanes is how many groups are added at a time.
const watchLanes = 16

// watched is one group and the runs that follow it.
type watched struct {
	runs  []*run // nearly always one
	state watchState
}

type watchState int8

const (
	watchOff watchState = iota
	watchAdding
	watchOn
)

func (w *watch) init(b *Backend) {
	w.b = b
	w.groups = make(map[string]*watched)
	for i := range w.lanes {
		w.lanes[i] = &lane{b: b, limit: 1}
	}
	w.watcher, _ = b.drv.(driver.Watcher)
}

func (w *watch) lane(group string) *lane {
	h := fnv.New32a()
	_, _ = h.Write([]byte(group)) // never fails
	return w.lanes[h.Sum32()%watchLanes]
}

// join registers a run: wake-ups of its group reach it as soon as, and as long as,
// the store is asked for them. It does no I/O.
func (w *watch) join(r *run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[r.group()]
	if g == nil {
		g = &watched{}
		w.groups[r.group()] = g
	}
	if !slices.Contains(g.runs, r) { // it joins again with each campaign
		g.runs = append(g.runs, r)
	}
}

// ask asks the store for the wake-ups of a group that a run has joined, unless
// they come or are asked for already. It is called once per attempt, since an
// earlier one may have failed, and does not wait.
func (w *watch) ask(group string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[group]
	if g == nil || w.watcher == nil || g.state != watchOff {
		return
	}
	g.state = watchAdding
	c := newCall(watchLimit, func(ctx context.Context) { w.added(group, g, w.add(ctx, group)) })
	if w.lane(group).submit(c, false) != nil {
		g.state = watchOff
	}
}

// add adds a group to the subscription.
func (w *watch) add(ctx context.Context, group string) error {
	sub, err := w.subscription(ctx)
	if err != nil {
		return err
	}
	return sub.Add(ctx, group)
}

// subscription opens the subscription if need be: Watch is under way once at a
// time, and the others wait for it.
func (w *watch) subscription(ctx context.Context) (driver.Subscription, error) {
	w.mu.Lock()
	for w.opening != nil {
		other := w.opening
		w.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, errAbandoned
		}
		w.mu.Lock()
	}
	if w.closed || w.sub != nil {
		defer w.mu.Unlock()
		if w.closed {
			return nil, ErrClosed
		}
		return w.sub, nil
	}
	opened := make(chan struct{})
	w.opening = opened
	w.mu.Unlock()
	sub, err := w.watcher.Watch(ctx, w)
	w.mu.Lock()
	late := err == nil && w.closed
	if err == nil && !late {
		w.sub = sub
	}
	w.opening = nil
	close(opened)
	w.mu.Unlock()
	if late { // not under the lock: it waits for wake-ups, which take it
		return nil, errors.Join(ErrClosed, sub.Close())
	}
	return sub, err
}

// watchLimit bounds one Add; while it runs, followers poll.
const watchLimit = 10 * time.Second

func (w *watch) added(group string, g *watched, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		g.state = watchOff
		if len(g.runs) == 0 {
			delete(w.groups, group)
		}
		return
	}
	g.state = watchOn
	if len(g.runs) == 0 {
		w.removeLater(group, g)
		return
	}
	// an attempt made while the watch was not in force may have missed a wake-up
	for _, r := range g.runs {
		if r.attempted.Load() {
			r.signal()
		}
	}
}

// leave forgets a run, and the group after its last one.
func (w *watch) leave(r *run) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[r.group()]
	if g == nil {
		return
	}
	g.runs = slices.DeleteFunc(g.runs, func(x *run) bool { return x == r })
	if len(g.runs) > 0 {
		return
	}
	switch g.state {
	case watchOff:
		delete(w.groups, r.group())
	case watchOn:
		w.removeLater(r.group(), g)
	}
}

// removeLater ends the watch of a group that nobody follows. It goes through the
// lane so that it cannot overtake, or be overtaken by, an Add.
func (w *watch) removeLater(group string, g *watched) {
	_ = w.lane(group).submit(newCall(0, func(context.Context) { // refused only when closing
		w.mu.Lock()
		gone := len(g.runs) == 0 && g.state == watchOn
		if gone {
			g.state = watchOff
			delete(w.groups, group)
		}
		sub := w.sub
		w.mu.Unlock()
		if gone && sub != nil { // nil: closed meanwhile
			sub.Remove(group)
		}
	}), false)
}

// pushes reports whether a resignation in group would be heard of.
func (w *watch) pushes(group string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.groups[group]
	return g != nil && g.state == watchOn && w.b.info.PushOnResign
}

func (w *watch) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, g := range w.groups {
		if g.state == watchOn {
			n++
		}
	}
	return n
}

// Wake implements driver.Sink.
func (w *watch) Wake(group string) {
	w.b.stats.wakes.Add(1)
	w.mu.Lock()
	if g := w.groups[group]; g != nil {
		for _, r := range g.runs {
			r.signal()
		}
	}
	w.mu.Unlock()
	// The driver goes on to look for its next message, in cold code if this was the
	// first for a while. Whom this one woke shall not wait for that on the same thread.
	runtime.Gosched()
}

// WakeAll implements driver.Sink.
func (w *watch) WakeAll() {
	w.b.stats.wakes.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.groups {
		for _, r := range g.runs {
			r.signal()
		}
	}
}

// Lost implements driver.Sink.
func (w *watch) Lost(group string, nonce driver.Nonce) {
	if l := w.b.renewer.find(group, nonce); l != nil {
		l.end(ErrLost)
	}
}

// close ends the subscription; no Sink method runs afterwards.
func (w *watch) close() error {
	for _, l := range w.lanes {
		l.close()
	}
	w.mu.Lock()
	sub := w.sub
	w.sub, w.closed = nil, true
	w.mu.Unlock()
	if sub == nil {
		return nil
	}
	return sub.Close()
}
