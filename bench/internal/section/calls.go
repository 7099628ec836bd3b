//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	"github.com/multilock/multilock-go/bench/internal/measure"
	multilock "github.com/multilock/multilock-go/core"
)

// Calls is the name of its section.
const Calls = "calls"

// transitions is how many changes every subscriber is told of.
const transitions = 200

// InProcess measures what costs no request: IsLeader, and the fan-out of changes
// to subscribers.
func (b *Bench) InProcess(ctx context.Context) {
	var names []string
	for _, c := range calls {
		names = append(names, c.name)
	}
	b.try(ctx, Calls+", "+strings.Join(names, ", "), func() error { return b.isLeader(ctx) })
	label := fmt.Sprintf("a change reaches all of %d subscribers", b.Subscribers)
	b.try(ctx, Calls+", "+label, func() error { return b.fanOut(ctx, label) })
}

func (b *Bench) elector(ctx context.Context) (e *multilock.Elector, end func(), err error) {
	backend, err := memory.Open(ctx, memory.Options{})
	if err != nil {
		return nil, nil, err
	}
	e, err = multilock.New(backend, multilock.Options{Group: "calls"})
	return e, func() { _ = backend.Close(ctx) }, err
}

// A batch of calls takes about a millisecond: what else the machine does then hits
// all four batches of a turn, or one batch among hundreds.
const (
	turns = 500
	batch = 10000
)

// Each loop makes its calls itself and keeps what it gets in variables of its own:
// a closure, or a variable outside, would cost one of them more than another.

func readTime(_ *multilock.Elector, n int) bool {
	var now time.Time
	for range n {
		now = time.Now()
	}
	return !now.IsZero()
}

func callIsLeader(e *multilock.Elector, n int) bool {
	ok := true
	for range n {
		led := e.IsLeader()
		ok = ok && led
	}
	return ok
}

func callTerm(e *multilock.Elector, n int) bool {
	ok := true
	for range n {
		_, led := e.Term()
		ok = ok && led
	}
	return ok
}

func callStatus(e *multilock.Elector, n int) bool {
	ok := true
	for range n {
		led := e.Status().IsLeader()
		ok = ok && led
	}
	return ok
}

var calls = []struct {
	name string
	make func(e *multilock.Elector, n int) bool
}{
	{"time.Now()", readTime}, {"IsLeader()", callIsLeader}, {"Term()", callTerm}, {"Status()", callStatus},
}

// isLeader makes short batches of each call alternately, in an order that rotates,
// and compares them turn by turn: how fast time.Now() is varies from second to
// second by more than the difference.
func (b *Bench) isLeader(ctx context.Context) error {
	e, end, err := b.elector(ctx)
	if err != nil {
		return err
	}
	defer end()
	if ok, err := e.TryAcquire(ctx); err != nil || !ok {
		return fmt.Errorf("nothing is led: %v, %w", ok, err)
	}
	ns, above := make([][]float64, len(calls)), make([][]float64, len(calls))
	for turn := range turns {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for i := range calls {
			i = (i + turn) % len(calls)
			begin := time.Now()
			led := calls[i].make(e, batch)
			took := time.Since(begin)
			if !led {
				return errors.New("the term was lost during the measurement")
			}
			ns[i] = append(ns[i], float64(took.Nanoseconds())/batch)
		}
		for i := range calls {
			above[i] = append(above[i], ns[i][turn]-ns[0][turn])
		}
	}
	for i, c := range calls {
		sp, _ := measure.SpreadOf(ns[i])
		row := measure.Row{Section: Calls, Case: c.name, Library: "MultiLock", Ours: true}
		row.Figures = []measure.Figure{
			{Name: "median ns", Value: sp.Median}, {Name: "min ns", Value: sp.Min}, {Name: "max ns", Value: sp.Max},
			{Name: "allocations", Value: testing.AllocsPerRun(batch, func() { c.make(e, 1) })},
		}
		if i == 0 {
			row.Library, row.Ours = "Go", false
		} else {
			row.Figures = append(row.Figures, measure.Figure{Name: "ns above time.Now(), median of turns", Value: measure.Quantile(above[i], 0.5)})
		}
		b.add(row)
		b.say("%s: %.3g ns", c.name, sp.Median)
	}
	return nil
}

// fanOut measures the time from a change until the last subscriber has it.
func (b *Bench) fanOut(ctx context.Context, label string) error {
	e, end, err := b.elector(ctx)
	if err != nil {
		return err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	arrived := make([][]time.Duration, b.Subscribers)
	for i := range arrived {
		changes := e.Changes(ctx, multilock.Acquired|multilock.Lost)
		wg.Go(func() {
			for c := range changes {
				arrived[i] = append(arrived[i], time.Since(c.At))
				if len(arrived[i]) == transitions {
					return
				}
			}
		})
	}
	// A term by TryAcquire begins and ends a run, and with it the sequences; one by
	// Start goes on.
	if err := e.Start(ctx); err != nil {
		return err
	}
	for range transitions / 2 {
		if _, err := e.WaitForLeadership(ctx); err != nil {
			return err
		}
		sleep(ctx, 2*time.Millisecond)
		if err := e.Resign(ctx); err != nil {
			return err
		}
		if _, err := e.TryAcquire(ctx); err != nil { // it abstains otherwise
			return err
		}
	}
	wg.Wait()
	var last []float64
	for n := range transitions {
		worst := time.Duration(0)
		for i := range arrived {
			if len(arrived[i]) != transitions {
				return fmt.Errorf("subscriber %d was told of %d changes of %d", i, len(arrived[i]), transitions)
			}
			worst = max(worst, arrived[i][n])
		}
		last = append(last, float64(worst)/float64(time.Microsecond))
	}
	b.add(measure.Row{
		Section: Calls, Case: label, Library: "MultiLock", Ours: true,
		Figures: []measure.Figure{
			{Name: "p50 µs", Value: measure.Quantile(last, 0.5)}, {Name: "p99 µs", Value: measure.Quantile(last, 0.99)},
			{Name: "changes", Value: transitions},
		},
	})
	b.say("%s: p50 %.4g µs", label, measure.Quantile(last, 0.5))
	return nil
}
