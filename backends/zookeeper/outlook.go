package zookeeper

import (
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

// taken notes that a lock node was there after all.
func (s *store) taken(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.watches[group]; w != nil {
		w.outlook.free = false
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
