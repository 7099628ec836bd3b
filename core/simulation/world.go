package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/internal/seam"
)

// group is the election of every schedule.
const group = "g"

// world is one schedule: a store, some nodes, and what the oracle has seen.
type world struct {
	seed  uint64
	store *memory.Store
	nodes []*node

	mu        sync.Mutex
	rng       *rand.Rand
	lastToken uint64
	register  uint64 // the greatest token that a fenced resource has accepted
	terms     int
	faults    []string
	trace     []string
}

// node is one process with an elector.
type node struct {
	w       *world
	id      int
	m       *machine
	net     *network
	backend *multilock.Backend
	elector *multilock.Elector

	mu   sync.Mutex
	work []context.Context // of works that have not returned
	once error             // second work started, kept until reported
}

// newWorld makes the schedule that seed stands for. TTL and margin are the
// defaults unless the schedule draws others; all rates stay within the bound that
// G1 names.
func newWorld(seed uint64, fault seam.Fault) (*world, error) {
	rng := rand.New(rand.NewPCG(seed, 0x6d756c74696c6f63))
	w := &world{seed: seed, store: memory.NewStore(), rng: rng}
	ttl := []time.Duration{15 * time.Second, 15 * time.Second, 5 * time.Second, 2 * time.Second}[rng.IntN(4)]

	// the margin is at least 1/15 of the TTL at the defaults: two clocks may differ
	// by that much, so each may be off by nearly half of it
	const off = 0.032
	rate := func() float64 { return 1 + off*(2*rng.Float64()-1) }
	storeRate, start := rate(), time.Now()
	w.store.SetClock(func() time.Duration { return time.Duration(float64(time.Since(start)) * storeRate) })

	for i := range 3 + rng.IntN(3) {
		n := &node{w: w, id: i}
		n.m = newMachine(rand.New(rand.NewPCG(seed, uint64(i))), rate(), rng.IntN(4) > 0)
		d, info, err := memory.NewDriver(memory.Options{Store: w.store})
		if err != nil {
			return nil, err
		}
		n.net = &network{m: n.m, driver: d.(fullDriver)}
		info.Hedge = rng.IntN(3) > 0
		if n.backend, err = multilock.NewBackend(n.net, info); err != nil {
			return nil, err
		}
		seam.SetClock(n.backend, n.m)
		seam.Sabotage(n.backend, fault)
		n.elector, err = multilock.New(n.backend, multilock.Options{
			Group: group, ParticipantID: fmt.Sprintf("node-%d", i),
			HeartbeatTimeout: ttl, DrainTimeout: time.Duration(1+rng.IntN(20)) * time.Second,
		})
		if err != nil {
			return nil, err
		}
		w.nodes = append(w.nodes, n)
	}
	return w, nil
}

func (w *world) int64N(n int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.Int64N(n)
}

func (w *world) intN(n int) int { return int(w.int64N(int64(n))) }

func (w *world) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, time.Now().Format("04:05.000000 ")+fmt.Sprintf(format, args...))
}

func (w *world) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, time.Now().Format("04:05.000000 ")+fmt.Sprintf(format, args...))
}

// check is the oracle of G1 and G3: of all nodes that may execute an instruction
// now, at most one says it leads, and no other's work sees a live context. It is
// asked whenever a belief begins, whenever a node resumes, and in between.
func (w *world) check(when string) {
	var believers, working []int
	for _, n := range w.nodes {
		if !n.m.running() {
			continue
		}
		if n.elector.IsLeader() {
			believers = append(believers, n.id)
		}
		n.mu.Lock()
		works := slices.Clone(n.work)
		n.mu.Unlock()
		for _, ctx := range works {
			if ctx.Err() == nil {
				working = append(working, n.id)
			}
		}
	}
	if len(believers) > 1 {
		w.fault("%s: nodes %v believe they lead", when, believers)
	}
	if len(working) > 1 || len(working) == 1 && len(believers) == 1 && working[0] != believers[0] {
		w.fault("%s: works of nodes %v see a live context while nodes %v believe", when, working, believers)
	}
}

// begin is called when a term's work begins.
func (w *world) begin(n *node, t multilock.Term) {
	w.mu.Lock()
	last := w.lastToken
	w.lastToken = max(last, t.Token)
	w.terms++
	w.mu.Unlock()
	w.note("node %d leads with %d", n.id, t.Token)
	if t.Token <= last {
		w.fault("node %d leads with token %d after token %d was given", n.id, t.Token, last)
	}
	w.check(fmt.Sprintf("node %d begins term %d", n.id, t.Token))
}

// write is a write to a resource that accepts no token below one it has seen.
func (w *world) write(token uint64) (accepted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if token < w.register {
		return false
	}
	w.register = token
	return true
}

var errEnough = errors.New("enough")

// run campaigns again and again until stop is closed.
func (n *node) run(stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		n.m.pass()
		ctx, cancel := context.WithCancelCause(context.Background())
		life := n.m.AfterFunc(time.Duration(n.w.int64N(int64(90*time.Second))), func() { cancel(errEnough) })
		end := make(chan struct{})
		go func() {
			select {
			case <-stop:
				cancel(errEnough)
			case <-end:
			}
		}()
		err := n.elector.Run(ctx, n.lead)
		if errors.Is(err, multilock.ErrRunning) { // try was faster, and holds a term or an attempt
			n.pause(ctx, time.Duration(1+n.w.int64N(int64(5*time.Second))))
			_ = n.elector.Stop(context.Background())
		}
		life.Stop()
		close(end)
		cancel(nil)
		if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, errFlaky) && !errors.Is(err, multilock.ErrStopped) && !errors.Is(err, multilock.ErrRunning) {
			n.w.fault("node %d: Run returned %v", n.id, err)
		}
	}
}

var errFlaky = errors.New("the work failed")

// lead is the work: it writes while its context lives, and leaves late at times.
func (n *node) lead(ctx context.Context, t multilock.Term) error {
	n.m.pass()
	n.mu.Lock()
	if len(n.work) > 0 {
		n.once = fmt.Errorf("node %d started a second work", n.id)
	}
	n.work = append(n.work, ctx)
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.work = slices.DeleteFunc(n.work, func(c context.Context) bool { return c == ctx })
		n.mu.Unlock()
	}()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	n.w.begin(n, t)
	lazy, quits := n.w.intN(4) == 0, n.w.intN(5) == 0
	for ctx.Err() == nil {
		n.w.write(t.Token)
		if quits && n.w.intN(10) == 0 {
			return errFlaky
		}
		if n.w.intN(40) == 0 {
			// from inside, as a work that has had enough may
			if n.w.intN(2) == 0 {
				_ = n.elector.Resign(ctx)
			} else {
				_ = n.elector.Stop(ctx)
			}
		}
		n.pause(ctx, time.Duration(n.w.int64N(int64(3*time.Second))))
	}
	if lazy { // it does not hear, or takes its time
		n.pause(context.Background(), time.Duration(n.w.int64N(int64(20*time.Second))))
	}
	return ctx.Err()
}

// pause sleeps by the node's clock.
func (n *node) pause(ctx context.Context, d time.Duration) {
	over := make(chan struct{})
	t := n.m.AfterFunc(d, func() { close(over) })
	select {
	case <-over:
	case <-ctx.Done():
	}
	t.Stop()
	n.m.pass()
}

// subscribe follows the changes of a node and checks G7: none is missed, and
// terms begin and end in turns.
func (n *node) subscribe(done *sync.WaitGroup, stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	done.Go(func() {
		<-stop
		cancel()
	})
	seq := n.elector.Changes(ctx, multilock.All)
	done.Go(func() {
		var last uint64
		var open multilock.Term
		joined := true // a run under way, perhaps within a term
		for {
			for c := range seq {
				if last != 0 && c.Seq != last+1 {
					n.w.fault("node %d: change %d follows %d", n.id, c.Seq, last)
				}
				last = c.Seq
				switch c.Kind {
				case multilock.Acquired:
					if open.Token != 0 {
						n.w.fault("node %d acquired %d before it lost %d", n.id, c.Term.Token, open.Token)
					}
					open, joined = c.Term, false
				case multilock.Lost:
					if open != c.Term && !joined {
						n.w.fault("node %d lost %v while holding %v", n.id, c.Term, open)
					}
					open, joined = multilock.Term{}, false
				case multilock.Stopped:
					if open.Token != 0 {
						n.w.fault("node %d stopped before it lost %v", n.id, open)
					}
				}
				if n.w.intN(4) == 0 { // a slow subscriber
					time.Sleep(time.Duration(n.w.int64N(int64(10 * time.Second))))
				}
			}
			if ctx.Err() != nil {
				return
			}
			seq = n.elector.Changes(ctx, multilock.All) // the next run
			last = 0                                    // what happened in between was not subscribed to
			open, joined = multilock.Term{}, true
		}
	})
}
