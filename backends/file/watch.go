package file

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

const (
	// pollInterval is how often a group is looked at where nothing notifies.
	pollInterval = 100 * time.Millisecond
	// pollBudget bounds the groups looked at in one interval; with more, each
	// interval takes some of them at random.
	pollBudget = 200
	// A closed record is looked at again and again for about 250 ms: a dying
	// process closes its files in an order of the kernel's choice, and the lock is
	// freed only after the notification.
	firstRecheck = time.Millisecond
	lastRecheck  = 128 * time.Millisecond
	// The same for a record that may have been closed just before notifications
	// began to come. That is rare, and of many groups at once, so there are only two
	// more looks.
	unheardRecheck = lastRecheck / 2
)

var errWatched = errors.New("file: Watch was called before")

// watch tells core when a group may have become free and when a term of this
// driver was removed or replaced. One goroutine looks; notifications and timers
// only say where.
type watch struct {
	d    *fileDriver
	sink driver.Sink
	n    notifier // nil: everything is polled

	mu     sync.Mutex
	closed bool
	groups map[string]*watched

	kick chan struct{} // holds one value while something is due now
	stop chan struct{}
	done chan struct{}
}

// watched is a group that is followed or led, under watch.mu.
type watched struct {
	followed bool
	leading  int
	notified bool // by n; otherwise polled

	due     time.Time // when to look next; zero: only when polled
	recheck time.Duration
	gen     uint64 // the highest generation known of
	told    bool   // that gen is free
}

// Watch implements [driver.Watcher].
func (d *fileDriver) Watch(ctx context.Context, sink driver.Sink) (driver.Subscription, error) {
	if err := d.ready(ctx, true); err != nil {
		return nil, err
	}
	w := &watch{
		d: d, sink: sink,
		groups: map[string]*watched{},
		kick:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	// Without a notifier (another system, or no inotify instance left for this
	// user) everything is polled.
	w.n, _ = d.disk.notifier(w.event)

	d.mu.Lock()
	err := error(nil)
	switch {
	case d.closed:
		err = driver.ErrClosed
	case d.watch != nil:
		err = errWatched
	default:
		d.watch = w
		for _, h := range d.terms {
			if h.live {
				w.lead(h.term.Group)
			}
		}
	}
	d.mu.Unlock()
	if err != nil {
		if w.n != nil {
			err = errors.Join(err, w.n.close())
		}
		return nil, err
	}
	go w.run()
	return w, nil
}

// Add implements [driver.Subscription].
func (w *watch) Add(ctx context.Context, group string) error {
	if err := w.d.ready(ctx, true); err != nil {
		return err
	}
	// The directory must be there to be watched.
	if err := w.d.ensureGroup(group, 1); err != nil {
		return classify(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return driver.ErrClosed
	}
	g := w.attach(group)
	g.followed, g.due, g.recheck = true, time.Now(), unheardRecheck
	w.wakeLoop()
	return nil
}

// Remove implements [driver.Subscription].
func (w *watch) Remove(group string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.groups[group]; g != nil {
		g.followed = false
		w.detach(group, g)
	}
}

func (w *watch) lead(group string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.attach(group).leading++
		w.wakeLoop()
	}
}

func (w *watch) unlead(group string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.groups[group]; g != nil && g.leading > 0 {
		g.leading--
		w.detach(group, g)
	}
}

// attach returns the group, watched from now on.
func (w *watch) attach(group string) *watched {
	g := w.groups[group]
	if g == nil {
		g = &watched{}
		w.groups[group] = g
		g.notified = w.n != nil && w.n.add(group) == nil
	}
	return g
}

func (w *watch) detach(group string, g *watched) {
	if g.followed || g.leading > 0 {
		return
	}
	delete(w.groups, group)
	if g.notified {
		w.n.remove(group)
	}
}

// Close implements [driver.Subscription].
func (w *watch) Close() error {
	w.mu.Lock()
	first := !w.closed
	w.closed = true
	w.mu.Unlock()
	var err error
	if first {
		close(w.stop)
		if w.n != nil {
			err = w.n.close()
		}
	}
	<-w.done
	return err
}

func (w *watch) wakeLoop() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// event takes a notification. It decides where to look, and when; it does not
// look itself, so that notifications are taken from the kernel quickly.
func (w *watch) event(c change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if c.kind == changesMissed {
		for _, g := range w.groups {
			g.due = now
		}
		w.wakeLoop()
		return
	}
	g := w.groups[c.group]
	if g == nil {
		return
	}
	switch c.kind {
	case generationClosed:
		if c.gen < g.gen {
			return // an ended term's file
		}
		g.due, g.recheck = now, firstRecheck
	case generationAdded:
		g.gen = max(g.gen, c.gen)
		if g.leading > 0 {
			g.due, g.recheck = now, 0
		} else {
			// Its owner opens the file by this name in the next moment; if it dies
			// before, no close will be told.
			g.due, g.recheck = now.Add(pollInterval), 0
		}
	case generationRemoved:
		if c.gen < g.gen {
			return // swept
		}
		g.due, g.recheck = now, 0
	case groupGone:
		g.notified, g.gen = false, 0
		g.due, g.recheck = now, 0
	}
	w.wakeLoop()
}

// run looks at groups when they are due.
func (w *watch) run() {
	defer close(w.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var polled time.Time
	for {
		select {
		case <-w.stop:
			return
		case <-w.kick:
		case <-timer.C:
		}
		now := time.Now()
		poll := now.Sub(polled) >= pollInterval
		if poll {
			polled = now
		}
		for _, group := range w.collect(now, poll) {
			select {
			case <-w.stop:
				return
			default:
				w.look(group)
			}
		}
		if wait, ok := w.next(time.Now(), polled); ok {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
	}
}

// collect returns the groups to look at now.
func (w *watch) collect(now time.Time, poll bool) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var due []string
	budget := pollBudget
	for group, g := range w.groups {
		switch {
		case !g.due.IsZero() && !g.due.After(now):
			g.due = time.Time{}
			due = append(due, group)
		case poll && !g.notified && budget > 0:
			budget--
			due = append(due, group)
		}
		if poll && !g.notified && w.n != nil && w.n.add(group) == nil {
			g.notified = true // its directory is back, or a watch became free
			g.recheck = max(g.recheck, unheardRecheck)
		}
	}
	return due
}

// next returns how long to wait until a group is due; false if none will be.
func (w *watch) next(now, polled time.Time) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var at time.Time
	for _, g := range w.groups {
		due := g.due
		if !g.notified {
			if p := polled.Add(pollInterval); due.IsZero() || p.Before(due) {
				due = p
			}
		}
		if !due.IsZero() && (at.IsZero() || due.Before(at)) {
			at = due
		}
	}
	return max(at.Sub(now), 0), !at.IsZero()
}

// look checks this driver's terms of a group, and whether the group is free.
func (w *watch) look(group string) {
	for _, nonce := range w.d.expelled(group) {
		w.sink.Lost(group, nonce)
	}
	w.mu.Lock()
	g := w.groups[group]
	followed := g != nil && g.followed
	w.mu.Unlock()
	if !followed {
		return
	}
	v, err := w.d.look(group, unreadableTTL)

	w.mu.Lock()
	if g != w.groups[group] || !g.followed || w.closed {
		w.mu.Unlock()
		return
	}
	if v.gen != g.gen {
		g.gen, g.told = max(v.gen, g.gen), false
	}
	tell := err == nil && v.free && (g.notified || !g.told)
	g.told = err == nil && v.free
	switch {
	case g.told:
		g.recheck = 0
	case !g.due.IsZero(): // something happened meanwhile
	case g.recheck > 0:
		g.due = time.Now().Add(g.recheck)
		if g.recheck *= 2; g.recheck > lastRecheck {
			g.recheck = 0
		}
	case err == nil:
		// The owner may be stopped. Those who were told the remaining time try
		// before, spread in time; this is for whoever was not.
		g.due = time.Now().Add(v.remaining + pollInterval)
	}
	w.mu.Unlock()
	if tell {
		w.sink.Wake(group)
	}
}

// expelled ends this driver's terms of a group that were removed or replaced.
func (d *fileDriver) expelled(group string) []driver.Nonce {
	d.mu.Lock()
	var keys []termKey
	for k, h := range d.terms {
		if k.group == group && h.live {
			keys = append(keys, k)
		}
	}
	d.mu.Unlock()
	var lost []driver.Nonce
	for _, k := range keys {
		h, err := d.enter(noWait, k, false)
		if h == nil || err != nil {
			continue // whoever is inside finds out
		}
		if h.file != nil {
			if mine, err := d.stillMine(h); err == nil && !mine {
				_ = d.expel(h)
				lost = append(lost, k.nonce)
			}
		}
		d.leave(h)
	}
	return lost
}
