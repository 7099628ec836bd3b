package multilock

import (
	"container/heap"
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/core/internal/seam"
)

// renewer renews all live terms of a Backend: a heap ordered by the time of the
// next send, and one timer. It has no goroutine of its own.
//
// Sends are hedged, not cancelled: without an answer within a third of the time
// left a second send goes out while the first is still awaited. Each answer
// counts from its own t0, and the store never shortens an expiry, so the order in
// which they execute and arrive does not matter.
type renewer struct {
	b *Backend

	mu    sync.Mutex
	terms dueHeap
	byID  map[termID]*live
	ticks alarm
	look  time.Duration // how often all terms are looked at
	most  int           // entries of a batch; halved when a whole batch fails
}

type termID struct {
	group string
	nonce driver.Nonce
}

const (
	// minHedge is the least wait for an answer before a second send.
	minHedge = 250 * time.Millisecond
	// maxInflight bounds the sends of a term that are unanswered.
	maxInflight = 2
	never       = math.MaxInt64
)

// add begins to renew l, first after delay.
func (r *renewer) add(l *live, delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.believed.Load().over != nil {
		return // its removal, which comes after the end, has been or will be in vain
	}
	if r.byID == nil {
		r.byID = make(map[termID]*live)
		r.most = max(1, r.b.info.RenewBatch)
	}
	l.due = r.b.clock.Now().Mono + int64(delay)
	l.queued = true
	if look := min(l.e.o.HeartbeatInterval/4, time.Second); len(r.terms) == 0 || look < r.look {
		r.look = look
	}
	r.byID[termID{l.term.Group, l.term.Nonce}] = l
	heap.Push(&r.terms, l)
	left := l.left()
	if l.run.manual {
		left = min(left, watchDelay)
	}
	r.arm(left)
}

// remove forgets l.
func (r *renewer) remove(l *live) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !l.queued {
		return
	}
	l.queued = false
	heap.Remove(&r.terms, l.index)
	delete(r.byID, termID{l.term.Group, l.term.Nonce})
}

func (r *renewer) find(group string, n driver.Nonce) *live {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[termID{group, n}]
}

func (r *renewer) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.terms)
}

// arm has the terms looked at in time for the next send, for a deadline that is
// left away, and regularly: timers stand still while a machine is suspended, and a
// short one is late by little after it resumes. The lock is held.
func (r *renewer) arm(left time.Duration) {
	if len(r.terms) == 0 {
		return
	}
	now := r.b.clock.Now().Mono
	r.ticks.set(r.b.clock, min(r.terms[0].due, now+int64(min(left, r.look))), r.tick)
}

// renewal is one entry of a batch.
type renewal struct {
	l   *live
	req driver.RenewRequest
	// meta is the version of the metadata sent, 0 if none was
	meta uint64
}

// tick looks at all terms, ends those whose deadline has passed, and sends what is
// due.
func (r *renewer) tick() {
	r.mu.Lock()
	r.ticks.rung()
	all := append(make([]*live, 0, len(r.terms)), r.terms...)
	r.mu.Unlock()
	soonest := time.Duration(never)
	for _, l := range all { // without the lock: a term found over removes itself
		if l.alive() {
			left := l.left()
			if left <= 0 { // by a look that was later
				left = time.Millisecond
			}
			soonest = min(soonest, left)
			l.watch()
		}
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.b.clock.Now().Mono
	for _, l := range all {
		if l.queued && l.due > now && l.inflight == 0 && l.fails == 0 && l.late() {
			r.schedule(l, now)
		}
	}
	if len(r.terms) > 0 && r.terms[0].due <= now {
		var due []*live
		for _, l := range r.terms {
			if l.due <= now || l.inflight == 0 && l.fails == 0 && l.aligned(now) {
				due = append(due, l)
			}
		}
		r.send(due, now)
	}
	r.arm(soonest)
}

// watchDelay is how long a term of TryAcquire lasts at most before its wake-ups are
// asked for: for one that is given back at once that would only be work.
const watchDelay = 100 * time.Millisecond

// watch asks for wake-ups, unless they come or were asked for already: a store that
// ends a term by itself tells of it in this way. A campaign asks before its term is
// told of, and else the first tick does.
func (l *live) watch() {
	if !l.watching.CompareAndSwap(false, true) {
		return
	}
	r := l.run
	r.e.mu.Lock()
	defer r.e.mu.Unlock()
	if r.e.run == r { // or it would never leave
		r.e.b.watch.join(r)
		r.e.b.watch.ask(r.group())
	}
}

// aligned reports whether l is old enough to ride on a batch that leaves now, so
// that the terms of a process come to be renewed together.
func (l *live) aligned(now int64) bool {
	x := l.believed.Load()
	return x.over == nil && now-x.at.Mono >= int64(l.heartbeat()/2)
}

// late reports whether a heartbeat has passed by the clock that is furthest. The
// times of sends are monotonic, and that clock stands still in suspend.
func (l *live) late() bool {
	x := l.believed.Load()
	return x.over == nil && time.Duration(x.span)-x.left(l.e.b.clock) > l.heartbeat()
}

// send submits batches of due terms; the lock is held.
func (r *renewer) send(due []*live, now int64) {
	for len(due) > 0 {
		n := min(len(due), r.most)
		batch := make([]renewal, 0, n)
		var limit time.Duration
		for _, l := range due[:n] {
			if l.inflight >= maxInflight {
				r.schedule(l, never)
				continue
			}
			left := l.left()
			if left <= 0 {
				r.schedule(l, now+int64(time.Millisecond)) // the next look ends it
				continue
			}
			if l.inflight > 0 {
				r.b.stats.hedges.Add(1)
			} else { // a hedge carries the same, since either may execute last
				l.meta = l.e.metadata()
			}
			l.inflight++
			limit = max(limit, left)
			batch = append(batch, renewal{l, driver.RenewRequest{Term: l.term, TTL: l.e.o.HeartbeatTimeout, Metadata: l.meta.m}, l.meta.version})
			r.schedule(l, now+int64(max(minHedge, left/3)))
		}
		due = due[n:]
		if len(batch) == 0 {
			continue
		}
		s := &sending{r: r, batch: batch, answered: make([]bool, len(batch))}
		c := newCall(limit, s.do)
		c.then = s.settle
		if err := r.b.renewals.submit(c, false); err != nil {
			for _, x := range batch {
				x.l.inflight--
			}
		}
	}
}

// schedule sets when l is sent next; the lock is held.
func (r *renewer) schedule(l *live, at int64) {
	l.due = at
	if l.queued {
		heap.Fix(&r.terms, l.index)
	}
}

// sending is a batch under way.
type sending struct {
	r     *renewer
	batch []renewal

	mu       sync.Mutex
	answered []bool
	good     bool // at least one answer came from the store
}

func (s *sending) do(ctx context.Context) {
	b := s.r.b
	reqs := make([]driver.RenewRequest, 0, len(s.batch))
	index := make([]int, 0, len(s.batch))
	for i, x := range s.batch { // the call may have queued behind others that hung
		if x.l.believed.Load().over == nil {
			reqs, index = append(reqs, x.req), append(index, i)
		}
	}
	if len(reqs) == 0 {
		return
	}
	b.stats.renewals.Add(1)
	b.stats.renewedTerms.Add(uint64(len(reqs)))
	start, t0 := time.Now(), readInstant(b.clock) // before the request
	b.drv.Renew(ctx, reqs, func(res driver.RenewResult) {
		if res.Index < 0 || res.Index >= len(index) {
			return // a driver's mistake: its entry stays unanswered
		}
		at := t0
		if b.fault == seam.AnchorAfterReply {
			at = readInstant(b.clock)
		}
		s.report(index[res.Index], at, start, res)
	})
}

// settle is run when the call has ended or was given up: what is unanswered then
// is uncertain.
func (s *sending) settle() {
	s.mu.Lock()
	good := s.good
	s.mu.Unlock()
	for i := range s.batch {
		s.report(i, instant{}, time.Time{}, driver.RenewResult{Err: errAbandoned})
	}
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if full := max(1, r.b.info.RenewBatch); good {
		r.most = full
	} else {
		r.most = max(1, min(r.most, len(s.batch))/2)
	}
}

// report takes the answer for one entry, the first one that comes.
func (s *sending) report(i int, t0 instant, start time.Time, res driver.RenewResult) {
	s.mu.Lock()
	if s.answered[i] {
		s.mu.Unlock()
		return
	}
	s.answered[i] = true
	if res.Err == nil || errors.Is(res.Err, ErrLost) {
		s.good = true
	}
	s.mu.Unlock()
	s.r.answer(s.batch[i], t0, start, res)
}

// answer applies the answer to the term it belongs to, and to no other.
func (r *renewer) answer(x renewal, t0 instant, start time.Time, res driver.RenewResult) {
	l := x.l
	left := l.left()
	switch {
	case res.Err == nil:
		l.extend(t0, res.Granted)
		l.e.metadataSent(x.meta)
	case errors.Is(res.Err, ErrLost):
		l.end(ErrLost)
	}
	r.mu.Lock()
	l.inflight--
	now := r.b.clock.Now().Mono
	deadline := time.Duration(never)
	switch bel := l.believed.Load(); {
	case !l.queued || bel.over != nil:
	case res.Err == nil:
		l.fails = 0
		r.schedule(l, max(now, bel.at.Mono+int64(l.heartbeat())))
		deadline = l.left()
	default:
		l.fails++
		r.schedule(l, min(l.due, now+int64(r.backoff(l))))
	}
	r.arm(deadline)
	r.mu.Unlock()
	l.e.renewed(l, start, left, res.Err)
}

// backoff after an uncertain answer: it grows from a fiftieth of the heartbeat to
// a half, with jitter, so that several tries fit before the deadline.
func (r *renewer) backoff(l *live) time.Duration {
	hb := l.e.o.HeartbeatInterval
	d := min(hb/50<<min(l.fails, 6), hb/2)
	d = max(d, time.Millisecond)
	return d/2 + time.Duration(r.b.clock.Int64N(int64(d)))
}

// dueHeap orders terms by the time of their next send.
type dueHeap []*live

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *dueHeap) Push(x any) {
	l := x.(*live)
	l.index = len(*h)
	*h = append(*h, l)
}
func (h *dueHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}
