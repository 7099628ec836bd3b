//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	"github.com/multilock/multilock-go/bench/internal/calls"
	"github.com/multilock/multilock-go/bench/internal/child"
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
	b.try(ctx, Calls+", "+strings.Join(calls.Names(), ", "), func() error { return b.isLeader(ctx) })
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

// Each process makes so many turns of all calls, for a fifth of a second or so. How
// much longer than time.Now() a call takes has two values on some machines, and
// changes between them from second to second: so there are many short processes,
// which also have code and data in other places each time.
const (
	callProcesses = 25
	turns         = 40
)

// budget is how much longer than time.Now() IsLeader may take, in nanoseconds.
const budget = 15

func (b *Bench) isLeader(ctx context.Context) error {
	names := calls.Names()
	ns, above, allocations := make([][]float64, len(names)), make([][]float64, len(names)), make([]float64, len(names))
	for range callProcesses {
		results, err := callsOf(ctx)
		if err != nil {
			return err
		}
		for i, r := range results {
			ns[i], above[i] = append(ns[i], r.NS), append(above[i], r.Above)
			allocations[i] = max(allocations[i], r.Allocations)
		}
	}
	for i, name := range names {
		b.add(callRow(name, i == 0, ns[i], above[i], allocations[i]))
		b.say("%s: %.3g ns", name, measure.Quantile(ns[i], 0.5))
	}
	return nil
}

// callRow is the row of a call from its medians in several processes. The first
// call is what the others are compared with.
func callRow(name string, first bool, ns, above []float64, allocations float64) measure.Row {
	row := measure.Row{Section: Calls, Case: name, Library: "MultiLock", Ours: true}
	sp, _ := measure.SpreadOf(ns)
	row.Figures = []measure.Figure{
		{Name: "processes", Value: float64(len(ns))},
		{Name: "median ns", Value: sp.Median}, {Name: "min ns", Value: sp.Min}, {Name: "max ns", Value: sp.Max},
		{Name: "allocations", Value: allocations},
	}
	if first {
		row.Library, row.Ours = "Go", false
		return row
	}
	row.Rounds = above // of each process, for those who look at the JSON
	sp, _ = measure.SpreadOf(above)
	within := 0
	for _, a := range above {
		if a <= budget {
			within++
		}
	}
	row.Figures = append(row.Figures,
		measure.Figure{Name: "ns above time.Now(): least", Value: sp.Min}, measure.Figure{Name: "ns above: median", Value: sp.Median},
		measure.Figure{Name: "ns above: most", Value: sp.Max}, measure.Figure{Name: fmt.Sprintf("processes with at most %d ns", budget), Value: float64(within)})
	return row
}

// callsOf measures in a process of its own.
func callsOf(ctx context.Context) ([]calls.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it took too long"))
	defer cancel()
	p, err := child.Start(child.Task{Turns: turns})
	if err != nil {
		return nil, err
	}
	defer p.Kill()
	return p.Calls(ctx)
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
