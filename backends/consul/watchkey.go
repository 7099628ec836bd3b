package consul

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// keyWatch is the blocking query of a group of its own. What has no comment about
// it belongs to the goroutine that polls.
type keyWatch struct {
	sub    *subscription
	ctx    context.Context
	cancel context.CancelFunc
	group  string
	tries  chan try // what an attempt has seen since the last wake-up; holds one

	calm   time.Duration
	v      seen
	looked bool
	rivals int // how many others seem to want the group
}

// try is what an attempt has learned of a locked key.
type try struct {
	nonce string // of the term
	index uint64 // of the key
	won   bool
}

const (
	// calm is how long a poll that has told of a free group waits to be told what came
	// of it.
	calm = 20 * time.Millisecond
	// few rivals are not in each other's way. Of more, spacing is how far apart their
	// attempts are meant to be, and maxRivals bounds how long the last of them waits.
	few       = 4
	spacing   = time.Millisecond
	maxRivals = 50
	// soon is after how long a group may still be free.
	soon = 2 * time.Millisecond
)

// look is a follower.
func (w *keyWatch) look(p *api.KVPair, index uint64, again bool) (bool, uint64) {
	news, first, s := w.v.look(p), !w.looked, w.sub.s
	w.looked = true
	free := news && !first && !locked(p)
	if !free {
		s.saw(w.group, p)
		if news && !first || again {
			w.sub.wake(w.group)
		}
		s.suspect(w.ctx, w.group, p)
		return news || again, index
	}
	d := w.turn()
	if d > 0 {
		wait(w.ctx, d)
	}
	select { // of an attempt before this
	case <-w.tries:
	default:
	}
	if d <= soon {
		s.saw(w.group, p)
	} else { // a read costs the servers less than a write that fails
		s.saw(w.group, nil)
	}
	w.sub.wake(w.group)
	s.suspect(w.ctx, w.group, p)
	if decode(p).Nonce != "" {
		// It was not resigned: a session has ended, and with it other terms, of which
		// nothing tells.
		w.sub.sweepSoon()
	}
	return true, max(index, w.outcome(index))
}

// outcome waits a little for what comes of the attempt that a wake-up leads to. It
// leads on from there: a poll from before would only be answered at once with the
// same, and be in the way of those who try.
func (w *keyWatch) outcome(index uint64) uint64 {
	t := time.NewTimer(w.calm)
	defer t.Stop()
	select {
	case x := <-w.tries:
		if x.won {
			w.rivals /= 2
		} else {
			w.rivals = min(w.rivals+1, maxRivals)
		}
		if x.index > index {
			w.v = seen{known: true, nonce: x.nonce, index: x.index}
			return x.index
		}
	case <-t.C:
	case <-w.ctx.Done():
	}
	return index
}

// turn is how long to leave a group that was resigned to others. Every attempt of
// many is a write of the servers, of which only one succeeds, and the others delay
// it. How many there are is told by how often others were faster.
func (w *keyWatch) turn() time.Duration {
	if w.rivals <= few {
		return 0
	}
	return rand.N(time.Duration(w.rivals-few) * spacing)
}

// tried tells the watch of a group what an attempt has learned of its locked key.
func (s *store) tried(group string, x try) {
	sub := s.subscription()
	if sub == nil {
		return
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	w := sub.queries[group]
	if w == nil {
		return
	}
	select { // the last one counts; under the lock nobody else puts one in
	case <-w.tries:
	default:
	}
	w.tries <- x
}

// suspect looks whether a term of ours is gone from a key. What a watch shows may
// be old, so it is read again before anybody is told.
func (s *store) suspect(ctx context.Context, group string, p *api.KVPair) {
	s.mu.Lock()
	claims := slices.Clone(s.claims[group])
	s.mu.Unlock()
	if len(claims) == 0 {
		return
	}
	rec := decode(p)
	s.mu.Lock()
	var gone []*claim
	for _, c := range claims {
		mine := locked(p) && p.Session == c.sess.id && rec.Nonce == c.nonce.String()
		if c.granted && !c.over && !mine && (p == nil || p.ModifyIndex >= c.index) {
			gone = append(gone, c)
		}
	}
	s.mu.Unlock()
	for _, c := range gone {
		// It tells core if the term is lost. If it cannot be read, renewals find out.
		_, _ = s.own(ctx, renewal{req: driver.RenewRequest{Term: driver.Term{Group: group, Nonce: c.nonce}}, c: c})
	}
}
