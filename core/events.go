package multilock

import (
	"context"
	"iter"
	"strings"
	"time"
)

// Kind is the kind of a Change, and as a mask a set of kinds.
type Kind uint8

// The kinds of changes.
const (
	// Acquired: this elector leads.
	Acquired Kind = 1 << iota
	// Lost: this elector leads no more. Cause says why.
	Lost
	// Changed: another participant was seen to lead; Leader is its record, the zero
	// Record if nobody is known to lead.
	Changed
	// Overrun: the work runs without a term: it outlived the drain limit or its
	// lost lease. Another may lead meanwhile; only the fence protects the resource.
	Overrun
	// Stopped: the elector stopped. It is the last change of a run.
	Stopped

	// All is the mask of all kinds.
	All = Acquired | Lost | Changed | Overrun | Stopped
)

// String returns the names in the mask, joined by "|".
func (k Kind) String() string {
	var names []string
	for i, n := range []string{"acquired", "lost", "changed", "overrun", "stopped"} {
		if k&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, "|")
}

// Change is one transition of an elector.
type Change struct {
	// Seq counts the changes of the elector from 1, over all runs.
	Seq uint64
	// Kind is exactly one kind.
	Kind Kind
	// At is when the change was published, by this machine's wall clock.
	At time.Time
	// Term is the term that began or ended; the zero Term for Changed and Stopped.
	Term Term
	// Cause is why a term or run ended, joined with the error of the work if that
	// returned one after its term had ended.
	Cause error
	// Leader is, for Changed, the record of the leader that was seen.
	Leader Record
}

// BecameLeader reports whether the elector began to lead.
func (c Change) BecameLeader() bool { return c.Kind == Acquired }

// LostLeadership reports whether the elector ceased to lead.
func (c Change) LostLeadership() bool { return c.Kind == Lost }

// feed is a linked list of changes shared by all subscribers. A subscription is
// a pointer into it: nobody registers, nothing is buffered per subscriber, a slow
// one delays nobody, and the collector frees what all have read.
type feed struct {
	tail *feedNode // not filled yet
	seq  uint64
}

type feedNode struct {
	ready  chan struct{} // closed when change and next, or end, are set
	change *Change
	next   *feedNode
	end    bool
}

func newFeedNode() *feedNode { return &feedNode{ready: make(chan struct{})} }

// publish numbers c and appends it, for good; the caller holds the elector's lock.
func (f *feed) publish(c *Change) {
	f.seq++
	c.Seq = f.seq
	n := f.tail
	n.change, n.next = c, newFeedNode()
	f.tail = n.next
	close(n.ready)
}

// finish ends the sequences subscribed so far once they have delivered.
func (f *feed) finish() {
	f.tail.end = true
	close(f.tail.ready)
	f.tail = newFeedNode()
}

// Changes returns the elector's changes of the kinds in mask, each once and in
// order, from the moment of the call: a change that happens before the returned
// sequence is ranged over is not missed. The sequence ends after the elector
// stopped, when ctx ends, or when the loop breaks; ranging again goes on where it
// was left. On a stopped elector it is the sequence of the next run.
//
// Nothing is coalesced and nothing needs to be released. A sequence must not be
// ranged over by two goroutines at once. Unread changes cost about 300 bytes each
// for as long as a sequence is kept.
func (e *Elector) Changes(ctx context.Context, mask Kind) iter.Seq[Change] {
	e.mu.Lock()
	at := e.events.tail
	e.mu.Unlock()
	return func(yield func(Change) bool) {
		for {
			if ctx.Err() != nil {
				return
			}
			select {
			case <-at.ready:
			default:
				select {
				case <-at.ready:
				case <-ctx.Done():
					return
				}
			}
			if at.end {
				return
			}
			c := at.change
			at = at.next
			if c.Kind&mask != 0 && !yield(*c) {
				return
			}
		}
	}
}
