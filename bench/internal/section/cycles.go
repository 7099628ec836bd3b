//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/store"
)

// Cycle is the name of its section.
const Cycle = "cycles"

// Cycles measures how often in a second clients take a free group and give it
// back, each a group of its own.
func (b *Bench) Cycles(ctx context.Context) {
	for _, clients := range b.Clients {
		b.each(func(s *store.Server) { b.cyclesOn(ctx, s, clients) })
	}
}

func (b *Bench) cyclesOn(ctx context.Context, s *store.Server, clients int) {
	label := fmt.Sprintf("%d clients", clients)
	if clients == 1 {
		label = "1 client"
	}
	rivals := rival.WithFloors(s.Name)
	rounds, worked := make([][]float64, len(rivals)), make([][]float64, len(rivals))
	what := func(r rival.Rival) string {
		return fmt.Sprintf("%s, %s, %s, %s", Cycle, s.Title, r.Library, label)
	}
	whole := b.inTurn(ctx, rivals, what, func(i int, r rival.Rival) error {
		rate, server, err := cycles(ctx, r, b.setting(s), clients, b.CycleTime, s)
		rounds[i], worked[i] = append(rounds[i], rate), append(worked[i], server)
		return err
	})
	for i, r := range rivals {
		if !whole[i] {
			continue
		}
		sp, _ := measure.SpreadOf(rounds[i])
		row := row(Cycle, s, r, label)
		row.Figures = []measure.Figure{{Name: "median /s", Value: sp.Median}, {Name: "min /s", Value: sp.Min}, {Name: "max /s", Value: sp.Max}}
		if s.Worked != nil {
			row.Figures = append(row.Figures, measure.Figure{Name: "server µs per cycle", Value: measure.Quantile(worked[i], 0.5)})
		}
		row.Rounds, row.Higher = rounds[i], true
		b.add(row)
		b.say("cycles, %s, %s, %s: %.4g per second", s.Title, r.Library, label, sp.Median)
	}
}

// cycles returns their number per second, and how many microseconds the server
// worked for one, or 0 if it does not tell.
func cycles(ctx context.Context, r rival.Rival, set rival.Setting, clients int, d time.Duration, s *store.Server) (rate, server float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, d+20*time.Second)
	defer cancel()
	candidates := make([]rival.Candidate, clients)
	for i := range candidates {
		c, err := r.Connect(ctx, set)
		if err != nil {
			return 0, 0, err
		}
		defer c.Close()
		if candidates[i], err = c.Candidate(unique("cycle"), fmt.Sprintf("client-%d", i)); err != nil {
			return 0, 0, err
		}
		if err := rival.Cycle(ctx, candidates[i]); err != nil { // connections and records are made
			return 0, 0, err
		}
	}
	worked := func() (time.Duration, error) { return 0, nil }
	if s.Worked != nil {
		worked = func() (time.Duration, error) { return s.Worked(ctx, r.Plain) }
	}
	before, err := worked()
	if err != nil {
		return 0, 0, err
	}
	var (
		n    atomic.Int64
		stop atomic.Bool
		errs = make([]error, clients)
		wg   sync.WaitGroup
	)
	begin := time.Now()
	for i, c := range candidates {
		wg.Go(func() {
			for !stop.Load() {
				if errs[i] = rival.Cycle(ctx, c); errs[i] != nil {
					return
				}
				n.Add(1)
			}
		})
	}
	sleep(ctx, d)
	counted, took := n.Load(), time.Since(begin)
	stop.Store(true)
	wg.Wait()
	if err := ctx.Err(); err != nil { // a shorter count is another measurement
		return 0, 0, err
	}
	after, err := worked() // for those cycles too that ended after the time was up
	return float64(counted) / took.Seconds(), float64((after - before).Microseconds()) / float64(n.Load()), errors.Join(append(errs, err)...)
}
