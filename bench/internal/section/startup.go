//go:build unix

package section

import (
	"context"
	"fmt"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/store"
)

// Startup is the name of its section.
const Startup = "startup"

// starts is how often a library is started in one round.
const starts = 20

// Startups measures how long it takes to lead a free group: from nothing, with a
// client of its own, and with a client that is connected already.
func (b *Bench) Startups(ctx context.Context) {
	b.each(func(s *store.Server) {
		for _, warm := range []bool{false, true} {
			b.startupOn(ctx, s, warm)
		}
	})
}

func (b *Bench) startupOn(ctx context.Context, s *store.Server, warm bool) {
	label := "new client"
	if warm {
		label = "connected client"
	}
	rivals := rival.On(s.Name)
	all, rounds := make([][]float64, len(rivals)), make([][]float64, len(rivals))
	what := func(r rival.Rival) string {
		return fmt.Sprintf("%s, %s, %s, %s", Startup, s.Title, r.Library, label)
	}
	whole := b.inTurn(ctx, rivals, what, func(i int, r rival.Rival) error {
		took, err := startups(ctx, r, b.setting(s), warm)
		ms := measure.Millis(took)
		all[i] = append(all[i], ms...)
		rounds[i] = append(rounds[i], measure.Quantile(ms, 0.5))
		return err
	})
	for i, r := range rivals {
		if !whole[i] {
			continue
		}
		row := row(Startup, s, r, label)
		row.Figures = []measure.Figure{{Name: "p50 ms", Value: measure.Quantile(all[i], 0.5)}, {Name: "p99 ms", Value: measure.Quantile(all[i], 0.99)}}
		row.Rounds = rounds[i]
		b.add(row)
		b.say("start-up, %s, %s, %s: p50 %.3g ms", s.Title, r.Library, label, row.Figures[0].Value)
	}
}

func startups(ctx context.Context, r rival.Rival, set rival.Setting, warm bool) (took []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var client rival.Client
	for i := range starts {
		begin := time.Now()
		if client == nil {
			if client, err = r.Connect(ctx, set); err != nil {
				return nil, err
			}
		}
		c, err := client.Candidate(unique("startup"), fmt.Sprint("candidate-", i))
		if err == nil {
			err = c.Lead(ctx)
		}
		if err != nil {
			client.Close()
			return nil, err
		}
		if !warm || i > 0 { // the first one connects
			took = append(took, time.Since(begin))
		}
		err = c.Resign(ctx)
		if !warm || err != nil || i == starts-1 {
			client.Close()
			client = nil
		}
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}
