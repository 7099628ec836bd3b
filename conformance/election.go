package conformance

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	multilock "github.com/multilock/multilock-go/core"
)

// elector is what rules use of a *multilock.Elector. The kit's own tests put
// broken ones in its place.
type elector interface {
	Run(ctx context.Context, work func(ctx context.Context, term multilock.Term) error) error
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	Resign(ctx context.Context) error
	IsLeader() bool
	Term() (multilock.Term, bool)
	TryAcquire(ctx context.Context) (bool, error)
	WaitForLeadership(ctx context.Context) (multilock.Term, error)
	WaitForLeader(ctx context.Context) (multilock.Record, error)
	Leader(ctx context.Context) (multilock.Record, error)
	Changes(ctx context.Context, mask multilock.Kind) iter.Seq[multilock.Change]
	Status() multilock.Status
}

type newElectorFunc func(b *multilock.Backend, o multilock.Options) (elector, error)

func newElector(b *multilock.Backend, o multilock.Options) (elector, error) {
	e, err := multilock.New(b, o)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// node is one process of an election: a client and the Backend on it.
type node struct {
	*client
	b    *multilock.Backend
	name string
}

// node opens a client and makes a Backend of it, which is closed when the rule
// ends.
func (r *run) node() *node { return r.promote(r.client()) }

func (r *run) nodes(n int) []*node {
	out := make([]*node, n)
	for i := range out {
		out[i] = r.node()
	}
	return out
}

// linkedNode is a node behind a fault proxy.
func (r *run) linkedNode() *node { return r.promote(r.linked()) }

func (r *run) promote(c *client) *node {
	b, err := multilock.NewBackend(c.Driver, c.info)
	if err != nil {
		r.Fatalf("NewBackend: %v", err)
	}
	r.mu.Lock()
	r.counter++
	n := &node{client: c, b: b, name: fmt.Sprintf("node-%d", r.counter)}
	r.mu.Unlock()
	r.Cleanup(func() {
		if c.link != nil {
			c.link.Restore()
		}
		c.f.on(nil)
		ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
		defer cancel()
		if err := b.Close(ctx); err != nil && !errors.Is(err, multilock.ErrClosed) {
			r.Logf("Backend.Close: %v", err)
		}
	})
	return n
}

// elector makes an elector of group on n. Its drain limit is one TTL.
func (n *node) elector(group string, change ...func(*multilock.Options)) elector {
	r := n.r
	o := multilock.Options{
		Group: group, ParticipantID: n.name, HeartbeatTimeout: r.h.TTL, DrainTimeout: r.h.TTL,
		ElectionInterval: max(r.h.TTL, time.Second),
	}
	for _, f := range change {
		f(&o)
	}
	e, err := n.construct(o)
	if err != nil {
		r.Fatalf("multilock.New: %v", err)
	}
	return e
}

// withHeartbeat makes electors of n renew that often in the time they believe
// after an answer.
func withHeartbeat(n *node, often time.Duration) func(*multilock.Options) {
	return func(o *multilock.Options) { o.HeartbeatInterval, o.LockTimeout = n.span()/often, n.r.h.TTL/2 }
}

func (n *node) construct(o multilock.Options) (elector, error) {
	if f := n.r.h.newElector; f != nil {
		return f(n.b, o)
	}
	return newElector(n.b, o)
}

// witness watches who believes to lead, across all nodes of a rule. Each belief
// is noted only as far as it was really expressed, so the witness accuses nobody
// wrongly, however slow the machine is.
type witness struct {
	r  *run
	mu sync.Mutex

	all      []*belief
	highest  uint64 // of the register that the terms guard
	accepted int
}

// belief is one term as its elector believed it.
type belief struct {
	who   string
	token uint64
	from  time.Time
	until time.Time // it was still believed at this time
	over  time.Time // seen to be over; zero while it is not
}

func (r *run) witness() *witness { return &witness{r: r} }

// watch notes the belief of one term until its context ends or done is closed.
func (w *witness) watch(ctx context.Context, who string, term multilock.Term, done <-chan struct{}) {
	b := w.begin(who, term.Token)
	defer w.end(b)
	for {
		now := time.Now()
		if ctx.Err() != nil {
			return
		}
		w.saw(b, now)
		if !w.write(term.Token) && ctx.Err() == nil {
			w.r.violation("%s believes to lead with token %d, but a greater token has been seen by the resource it guards", who, term.Token)
		}
		select {
		case <-ctx.Done():
			return
		case <-done:
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// write is a write to a resource that refuses tokens below the greatest it saw.
func (w *witness) write(token uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if token < w.highest {
		return false
	}
	w.highest = token
	w.accepted++
	return true
}

func (w *witness) begin(who string, token uint64) *belief {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &belief{who: who, token: token, from: now, until: now}
	w.all = append(w.all, b)
	return b
}

func (w *witness) saw(b *belief, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.until = at
}

func (w *witness) end(b *belief) {
	w.mu.Lock()
	defer w.mu.Unlock()
	b.over = time.Now()
}

// terms is how many terms began so far.
func (w *witness) terms() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

// last returns the newest belief, and whether it is still held.
func (w *witness) last() (b belief, held bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) == 0 {
		return belief{}, false
	}
	b = *w.all[len(w.all)-1]
	return b, b.over.IsZero()
}

// check fails the rule if two terms were believed at one time, or a token did not
// increase.
func (w *witness) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := slices.Clone(w.all)
	slices.SortFunc(all, func(a, b *belief) int { return a.from.Compare(b.from) })
	for i, next := range all {
		for _, b := range all[:i] {
			if next.from.Before(b.until) {
				w.r.violation("two leaders: %s (token %d) believed to lead for %v after %s (token %d) had begun", b.who, b.token, b.until.Sub(next.from), next.who, next.token)
			}
			if next.token <= b.token {
				w.r.violation("%s led with token %d after %s had led with token %d", next.who, next.token, b.who, b.token)
			}
		}
	}
}

// candidate runs an elector's Run in a goroutine; its work is watched until the
// term ends.
type candidate struct {
	e    elector
	n    *node
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// campaign lets n take part in group until the rule ends or stop is called.
func (w *witness) campaign(n *node, group string, change ...func(*multilock.Options)) *candidate {
	return w.campaignWith(n, n.elector(group, change...), watched(w, n.name))
}

// watched is a work that only lets w watch its term.
func watched(w *witness, who string) func(context.Context, multilock.Term) error {
	return func(ctx context.Context, term multilock.Term) error {
		w.watch(ctx, who, term, nil)
		return nil
	}
}

func (w *witness) campaignWith(n *node, e elector, work func(context.Context, multilock.Term) error) *candidate {
	ctx, cancel := context.WithCancel(w.r.ctx)
	c := &candidate{e: e, n: n, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.err = e.Run(ctx, work)
	}()
	w.r.Cleanup(func() {
		n.f.on(nil)
		if n.link != nil {
			n.link.Restore()
		}
		cancel()
		<-c.done
	})
	return c
}

// leads waits until a node believes to lead with a token above after, and returns
// that belief.
func (w *witness) leads(after uint64, patience time.Duration, what string) belief {
	var b belief
	w.r.eventually(patience, what, func() bool {
		var held bool
		b, held = w.last()
		return held && b.token > after
	})
	return b
}

// failover is how long a crash may leave the group without a leader: the declared
// worst case, counted from the last contact, and slack.
func (r *run) failover(n *node) time.Duration { return r.worst(n.info) + 2*r.slack() }

// settle is patience for what needs a few round trips after a disturbance.
func (r *run) recovery(n *node) time.Duration { return r.failover(n) + 30*time.Second }
