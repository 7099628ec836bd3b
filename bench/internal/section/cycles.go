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
	rivals := rival.On(s.Name)
	rounds := make([][]float64, len(rivals))
	what := func(r rival.Rival) string {
		return fmt.Sprintf("%s, %s, %s, %s", Cycle, s.Title, r.Library, label)
	}
	whole := b.inTurn(ctx, rivals, what, func(i int, r rival.Rival) error {
		rate, err := cycles(ctx, r, b.setting(s), clients, b.CycleTime)
		rounds[i] = append(rounds[i], rate)
		return err
	})
	for i, r := range rivals {
		if !whole[i] {
			continue
		}
		sp, _ := measure.SpreadOf(rounds[i])
		row := row(Cycle, s, r, label)
		row.Figures = []measure.Figure{{Name: "median /s", Value: sp.Median}, {Name: "min /s", Value: sp.Min}, {Name: "max /s", Value: sp.Max}}
		row.Rounds, row.Higher = rounds[i], true
		b.add(row)
		b.say("cycles, %s, %s, %s: %.4g per second", s.Title, r.Library, label, sp.Median)
	}
}

func cycles(ctx context.Context, r rival.Rival, set rival.Setting, clients int, d time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, d+20*time.Second)
	defer cancel()
	candidates := make([]rival.Candidate, clients)
	for i := range candidates {
		c, err := r.Connect(ctx, set)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		if candidates[i], err = c.Candidate(unique("cycle"), fmt.Sprintf("client-%d", i)); err != nil {
			return 0, err
		}
		if err := rival.Cycle(ctx, candidates[i]); err != nil { // connections and records are made
			return 0, err
		}
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
		return 0, err
	}
	return float64(counted) / took.Seconds(), errors.Join(errs...)
}
