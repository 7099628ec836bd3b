//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
	if err := b.isLeader(ctx); err != nil {
		b.Gap(err, "IsLeader")
	}
	if err := b.fanOut(ctx); err != nil {
		b.Gap(err, "fan-out of changes")
	}
}

func (b *Bench) elector(ctx context.Context) (e *multilock.Elector, end func(), err error) {
	backend, err := memory.Open(ctx, memory.Options{})
	if err != nil {
		return nil, nil, err
	}
	e, err = multilock.New(backend, multilock.Options{Group: "calls"})
	return e, func() { _ = backend.Close(ctx) }, err
}

func (b *Bench) isLeader(ctx context.Context) error {
	e, end, err := b.elector(ctx)
	if err != nil {
		return err
	}
	defer end()
	if ok, err := e.TryAcquire(ctx); err != nil || !ok {
		return fmt.Errorf("nothing is led: %v, %w", ok, err)
	}
	var sink time.Time
	led := true
	cases := []struct {
		name string
		call func()
	}{
		{"time.Now()", func() { sink = time.Now() }},
		{"IsLeader()", func() { led = e.IsLeader() && led }},
		{"Term()", func() { _, ok := e.Term(); led = ok && led }},
		{"Status()", func() { led = e.Status().IsLeader() && led }},
	}
	rounds, allocs := make([][]float64, len(cases)), make([]int64, len(cases))
	for range b.Rounds {
		for i, c := range cases {
			r := testing.Benchmark(func(tb *testing.B) {
				tb.ReportAllocs()
				for tb.Loop() {
					c.call()
				}
			})
			rounds[i] = append(rounds[i], float64(r.T.Nanoseconds())/float64(r.N))
			allocs[i] = r.AllocsPerOp()
		}
	}
	if !led {
		return errors.New("the term was lost during the measurement")
	}
	runtime.KeepAlive(sink)
	var above []float64
	for i := range rounds[1] {
		above = append(above, rounds[1][i]-rounds[0][i])
	}
	for i, c := range cases {
		sp, _ := measure.SpreadOf(rounds[i])
		row := measure.Row{Section: Calls, Case: c.name, Library: "MultiLock", Ours: true, Rounds: rounds[i]}
		if i == 0 {
			row.Library, row.Ours = "Go", false
		}
		row.Figures = []measure.Figure{
			{Name: "median ns", Value: sp.Median}, {Name: "min ns", Value: sp.Min}, {Name: "max ns", Value: sp.Max},
			{Name: "allocations", Value: float64(allocs[i])},
		}
		if i == 1 {
			sp, _ := measure.SpreadOf(above)
			row.Figures = append(row.Figures, measure.Figure{Name: "ns above time.Now()", Value: sp.Median})
		}
		b.add(row)
		b.say("%s: %.3g ns", c.name, sp.Median)
	}
	return nil
}

// fanOut measures the time from a change until the last subscriber has it.
func (b *Bench) fanOut(ctx context.Context) error {
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
	label := fmt.Sprintf("a change reaches all of %d subscribers", b.Subscribers)
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
