// Package calls measures calls of an elector that ask no store.
package calls

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	"github.com/multilock/multilock-go/bench/internal/measure"
	multilock "github.com/multilock/multilock-go/core"
)

// Result is what one call took in this process.
type Result struct {
	Name string
	// NS is the median time of all turns, in nanoseconds, and Above the median of how
	// much longer it took than the first call, time.Now(), turn by turn.
	NS, Above   float64
	Allocations float64
}

// Names are the calls, in the order of the results.
func Names() []string {
	var out []string
	for _, c := range all {
		out = append(out, c.name)
	}
	return out
}

// A batch of calls takes about a millisecond: what else the machine does then hits
// all four batches of a turn, or one batch among many.
const batch = 10000

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

var all = []struct {
	name string
	make func(e *multilock.Elector, n int) bool
}{
	{"time.Now()", readTime}, {"IsLeader()", callIsLeader}, {"Term()", callTerm}, {"Status()", callStatus},
}

// Measure makes short batches of each call alternately, in an order that rotates,
// and compares them turn by turn: how fast time.Now() is varies from second to
// second by more than the difference.
func Measure(ctx context.Context, turns int) ([]Result, error) {
	backend, err := memory.Open(ctx, memory.Options{})
	if err != nil {
		return nil, err
	}
	defer backend.Close(context.WithoutCancel(ctx))
	e, err := multilock.New(backend, multilock.Options{Group: "calls"})
	if err != nil {
		return nil, err
	}
	if ok, err := e.TryAcquire(ctx); err != nil || !ok {
		return nil, fmt.Errorf("nothing is led: %v, %w", ok, err)
	}
	ns, above := make([][]float64, len(all)), make([][]float64, len(all))
	for turn := range turns {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for i := range all {
			i = (i + turn) % len(all)
			begin := time.Now()
			led := all[i].make(e, batch)
			took := time.Since(begin)
			if !led {
				return nil, errors.New("the term was lost during the measurement")
			}
			ns[i] = append(ns[i], float64(took.Nanoseconds())/batch)
		}
		for i := range all {
			above[i] = append(above[i], ns[i][turn]-ns[0][turn])
		}
	}
	var out []Result
	for i, c := range all {
		out = append(out, Result{
			c.name, measure.Quantile(ns[i], 0.5), measure.Quantile(above[i], 0.5),
			testing.AllocsPerRun(batch, func() { c.make(e, 1) }),
		})
	}
	return out, nil
}
