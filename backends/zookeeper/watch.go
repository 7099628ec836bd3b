package zookeeper

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/multilock/multilock-go/core/driver"
)

// watch is what is known about the server's watch on the lock node of a group.
// ZooKeeper sends one event per watch; the library takes watches along to a new
// connection of the same session, and drops them with the session. All fields are
// guarded by the store's mutex.
type watch struct {
	wanted  bool // a subscription, besides a claim in leading
	armed   bool // an event will come when the lock node changes
	arming  bool // somebody is at it
	counter uint64

	czxid   int64 // of the lock node when the watch was set, 0 if it was missing
	version int32

	outlook outlook
	kept    bool // for the sake of the outlook
	raced   bool // a wake-up was told, and who won is not known yet
	beaten  bool // the race before was lost
}

// rearmDelay gives the attempt that follows a wake-up the time to set the watch
// again in passing.
const rearmDelay = 50 * time.Millisecond

// watchDelay is how long a term lasts before its own watch is set, unless the group
// is followed: most that are given back before would only be slower for it.
const watchDelay = 100 * time.Millisecond

// patience is the longest wait before a wake-up is passed on in a group in which
// the race before was lost. All who follow a group hear of its end at once, and
// the attempts of those that lose are writes which hold up the winner's. So who
// has lost waits at random, and looks before it tries; who has won, or has not
// raced yet, tries at once.
const patience = 10 * time.Millisecond

// connected, sessionEnded and nodeEvent are called by the Hook and do not block.
func (s *store) connected(link) {
	if s.hosts != nil {
		s.hosts.Connected()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawn(s.relink) // not here: many groups take a moment
}

func (s *store) sessionEnded() {
	if s.hosts != nil {
		s.hosts.Connected() // the next attempt need not wait
	}
	s.mu.Lock()
	sub := s.sub
	var lost []claimKey
	for _, c := range s.claims {
		if s.losing(c) {
			lost = append(lost, c.claimKey)
		}
		s.forget(c)
	}
	for group, w := range s.watches {
		w.armed = false
		w.counter++
		s.tidy(group)
	}
	s.mu.Unlock()
	// At once: another may lead as soon as this returns.
	if sub != nil {
		sub.tell(func(sink driver.Sink) {
			for _, k := range lost {
				sink.Lost(k.group, k.nonce)
			}
		})
	}
}

func (s *store) nodeEvent(e zk.Event) {
	group, ok := s.groupOf(e.Path)
	if !ok {
		return
	}
	s.mu.Lock()
	w := s.watches[group]
	if w == nil {
		s.mu.Unlock()
		return
	}
	w.armed = false
	w.counter++
	if c := s.leading[group]; c != nil {
		c.doubts++
		if !c.ending {
			s.spawn(func(ctx context.Context) { s.suspect(ctx, c) })
		}
	}
	w.outlook.free = false
	wake, delay := false, time.Duration(0)
	if e.Type == zk.EventNodeDeleted {
		w.outlook.free = !w.beaten
		w.raced = w.wanted
		wake = w.wanted
	}
	if wake {
		delay = rearmDelay
	}
	s.arm(group, w, delay, true)
	late := w.beaten
	s.mu.Unlock()
	switch {
	case wake && late:
		time.AfterFunc(rand.N(patience), func() { s.wake(group) })
	case wake:
		s.wake(group)
	}
}

// want keeps a watch on group for a term that has begun; the lock is held.
func (s *store) want(group string) *watch {
	w := s.watches[group]
	if w == nil {
		w = &watch{}
		s.watches[group] = w
	}
	if s.running {
		s.arm(group, w, watchDelay, false)
	}
	return w
}

// tidy forgets a watch that nobody needs and no event will come for; the lock is
// held.
func (s *store) tidy(group string) {
	if w := s.watches[group]; w != nil && !w.wanted && !w.armed && !w.arming && !w.kept && s.leading[group] == nil {
		delete(s.watches, group)
	}
}

// relink is run when there is a new connection.
func (s *store) relink(context.Context) {
	s.mu.Lock()
	sub := s.sub
	s.mu.Unlock()
	if sub != nil {
		sub.tell(driver.Sink.WakeAll)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for group, w := range s.watches {
		s.arm(group, w, 0, true)
	}
}

// suspect looks at the lock node of a term after an event about it.
func (s *store) suspect(ctx context.Context, c *claim) {
	ctx, cancel := context.WithTimeout(ctx, s.o.SessionTimeout/3)
	defer cancel()
	if l, err := s.ready(ctx); err == nil {
		_ = s.verify(ctx, l, c, time.Time{}) // the next renewal tries again
	}
}

// arm sets the watch of group, after delay, until it is in force or not needed.
// With wake, a lock node that is found missing is told. The lock is held.
func (s *store) arm(group string, w *watch, delay time.Duration, wake bool) {
	if w.armed || w.arming || !s.needs(group, w) {
		return
	}
	w.arming = true
	// Not a goroutine that waits: a process that comes to lead many groups would have
	// one for each.
	time.AfterFunc(delay, func() { s.rearm(group, w, wake) })
}

func (s *store) rearm(group string, w *watch, wake bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.armed || s.closed || !s.needs(group, w) {
		w.arming = false
		s.tidy(group)
		return
	}
	s.unset = append(s.unset, unset{group, w, wake})
	if s.setters < maxSetters {
		s.setters++
		s.spawn(s.setWatches)
	}
}

// unset is a watch to be set.
type unset struct {
	group string
	w     *watch
	wake  bool
}

// maxSetters is how many watches are being set at a time: a reconnect, or the
// beginning of many terms, concerns thousands.
const maxSetters = 8

// setWatches sets the watches that are to be set.
func (s *store) setWatches(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.unset) > 0 && ctx.Err() == nil {
		x := s.unset[0]
		s.unset = s.unset[1:]
		delay := rearmDelay // what happens meanwhile is not seen
		if !x.w.armed && s.needs(x.group, x.w) {
			s.mu.Unlock()
			ctx, cancel := context.WithTimeout(ctx, s.o.SessionTimeout)
			exists, err := s.setWatch(ctx, x.group)
			cancel()
			if err != nil {
				delay = s.tick
			} else if !exists && x.wake {
				s.wake(x.group)
			}
			s.mu.Lock()
		}
		x.w.arming = false
		s.arm(x.group, x.w, delay, true)
		s.tidy(x.group)
	}
	s.setters--
}

// needs reports whether somebody follows or leads group; who is resigning does not
// any more. The lock is held.
func (s *store) needs(group string, w *watch) bool {
	c := s.leading[group]
	return w.wanted || c != nil && !c.ending
}

func (s *store) wake(group string) {
	s.mu.Lock()
	sub := s.sub
	s.mu.Unlock()
	if sub != nil {
		sub.tell(func(sink driver.Sink) { sink.Wake(group) })
	}
}

// setWatch sets a watch on the lock node, existing or not.
func (s *store) setWatch(ctx context.Context, group string) (exists bool, err error) {
	if _, err := s.ready(ctx); err != nil {
		return false, err
	}
	n, err := s.watched(group, func() (node, error) {
		return ask(ctx, s, false, func() (node, error) {
			ok, stat, _, err := s.conn.ExistsW(s.lockPath(group))
			if !ok {
				stat = nil
			}
			return node{stat: stat}, err
		})
	})
	return n.stat != nil, err
}

// readLock reads the lock node and, if a watch is needed and not in force, sets
// it in passing.
func (s *store) readLock(ctx context.Context, group string) (node, error) {
	s.mu.Lock()
	w := s.watches[group]
	need := w != nil && !w.armed && s.needs(group, w)
	s.mu.Unlock()
	if !need {
		return s.get(ctx, s.lockPath(group))
	}
	return s.watched(group, func() (node, error) {
		return ask(ctx, s, false, func() (node, error) {
			data, stat, _, err := s.conn.GetW(s.lockPath(group))
			return node{data, stat}, err
		})
	})
}

// watched runs set, which sets a watch and reads the lock node, and notes that the
// watch is in force unless its event has come already.
func (s *store) watched(group string, set func() (node, error)) (node, error) {
	s.mu.Lock()
	var before uint64
	if w := s.watches[group]; w != nil {
		before = w.counter
	}
	s.mu.Unlock()
	n, err := set()
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watches[group]; w != nil && err == nil && w.counter == before {
		w.armed, w.czxid, w.version = true, 0, 0
		if n.stat != nil {
			w.czxid, w.version = n.stat.Czxid, n.stat.Version
		}
	}
	return n, err
}

// spawn runs f until Close; the lock is held.
func (s *store) spawn(f func(ctx context.Context)) {
	if !s.closed {
		s.wg.Go(func() { f(s.base) })
	}
}
