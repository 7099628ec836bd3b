package zookeeper

import (
	"context"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// outlook is what the group node will be when the term seen last has been
// resigned. It lets an attempt that follows a resignation try at once, without a
// read: the transaction is on condition of the version, so an outlook that does
// not come true costs a round trip and decides nothing. It does not come true
// where a session expired, which leaves the group node as it was.
type outlook struct {
	nonce   driver.Nonce // of the term
	version int32        // of the group node after its resignation; not positive if not known
	free    bool         // the lock node went, and none has been seen since
}

// follow notes a live term and the version of the group node since it began, which
// is not positive if it is not known.
func (o *outlook) follow(nonce driver.Nonce, groupVer int32) {
	*o = outlook{nonce: nonce}
	if groupVer > 0 {
		o.version = groupVer + 1
	}
}

// foreseen returns the group node as it is expected, without a stat if nothing is
// known, and whether the lock node is expected to be missing.
func (s *store) foreseen(group string) (g node, free bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[group]
	if w == nil || w.outlook.version <= 0 {
		return node{}, false
	}
	return node{encodeGroup(w.outlook.nonce), &zk.Stat{Version: w.outlook.version}}, w.outlook.free
}

// unforeseen drops an outlook that did not come true.
func (s *store) unforeseen(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watches[group]; w != nil {
		w.outlook = outlook{}
	}
}

// held is the answer to an attempt that found the lock node of another term.
func (s *store) held(group string, lock node) error {
	rec, groupVer, _ := decodeVersion(group, lock.data, lock.stat)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watches[group]; w != nil {
		w.outlook.follow(rec.Nonce, groupVer)
		w.beaten = w.beaten || w.raced
		w.raced = false
	}
	return &driver.HeldError{Record: rec}
}

// keep holds on to the outlook of a group that nobody follows for a while, for who
// acquires again and again. The lock is held.
func (s *store) keep(group string, w *watch) {
	if w.kept {
		return
	}
	w.kept = true
	time.AfterFunc(time.Second, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		w.kept = false
		s.tidy(group)
	})
}

// lookAfter reads the lock node behind the transaction that the caller sends now,
// unless a watch on it is in force: a server answers the requests of a connection
// in their order. So the winner has its watch with the answer, and the others have
// the winner's record. answered is closed when the transaction has been answered.
// Should the read go first after all, behind the transaction of another group, it
// finds nothing, or what the transaction found. wait returns the lock node,
// without a stat if that is not known.
func (s *store) lookAfter(group string, answered <-chan struct{}) (wait func(context.Context) node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watches[group]
	if w == nil {
		w = &watch{}
		s.watches[group] = w
	}
	if w.armed || s.closed {
		return func(context.Context) node { return node{} }
	}
	w.looks++
	written := s.hook.afterTransaction()
	seen, looked := make(chan node, 1), make(chan struct{})
	w.looked = looked
	s.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, s.o.SessionTimeout)
		defer cancel()
		select {
		case <-written:
		case <-answered: // it was not sent
		case <-ctx.Done():
		}
		n, err := s.readLock(ctx, group)
		if err != nil {
			n = node{}
		}
		seen <- n
		s.mu.Lock()
		defer s.mu.Unlock()
		w.looks--
		close(looked)
		s.arm(group, w, rearmDelay, true)
		s.tidy(group)
	})
	return func(ctx context.Context) node {
		select {
		case n := <-seen:
			return n
		case <-ctx.Done():
			return node{}
		}
	}
}

// lookedAfter waits for a lookAfter under way in group.
func (s *store) lookedAfter(ctx context.Context, group string) {
	s.mu.Lock()
	var looked chan struct{}
	if w := s.watches[group]; w != nil && w.looks > 0 {
		looked = w.looked
	}
	s.mu.Unlock()
	if looked != nil {
		select {
		case <-looked:
		case <-ctx.Done():
		}
	}
}
