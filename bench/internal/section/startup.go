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

// beginning is what there is before a library is started.
type beginning struct {
	label string
	warm  bool // a client that is connected
	fresh bool // a group that nobody has led before
}

// Startups measures how long it takes to lead a free group: with a client of its
// own, and with one that is connected already. Services start more than once, so
// the group has been led before; what its very first term takes is told apart.
// Nobody starts in the wake of another client: what the server has to do when one
// goes would be part of the next one's start, and more of it with more connections.
func (b *Bench) Startups(ctx context.Context) {
	b.each(func(s *store.Server) {
		for _, x := range []beginning{{label: "new client"}, {"connected client", true, false}, {"connected client, a group never led before", true, true}} {
			b.startupOn(ctx, s, x)
		}
	})
}

func (b *Bench) startupOn(ctx context.Context, s *store.Server, x beginning) {
	rivals := rival.WithFloors(s.Name)
	all, rounds := make([][]float64, len(rivals)), make([][]float64, len(rivals))
	what := func(r rival.Rival) string {
		return fmt.Sprintf("%s, %s, %s, %s", Startup, s.Title, r.Library, x.label)
	}
	whole := b.inTurn(ctx, rivals, what, func(i int, r rival.Rival) error {
		took, err := startups(ctx, r, b.setting(s), x)
		ms := measure.Millis(took)
		all[i] = append(all[i], ms...)
		rounds[i] = append(rounds[i], measure.Quantile(ms, 0.5))
		return err
	})
	for i, r := range rivals {
		if !whole[i] {
			continue
		}
		row := row(Startup, s, r, x.label)
		row.Figures = []measure.Figure{{Name: "p50 ms", Value: measure.Quantile(all[i], 0.5)}, {Name: "p99 ms", Value: measure.Quantile(all[i], 0.99)}}
		row.Rounds = rounds[i]
		b.add(row)
		b.say("start-up, %s, %s, %s: p50 %.3g ms", s.Title, r.Library, x.label, row.Figures[0].Value)
	}
}

func startups(ctx context.Context, r rival.Rival, set rival.Setting, x beginning) (took []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var client rival.Client
	group := unique("startup")
	for i := range starts + 1 { // the first is not counted: it connects, or leads the group for the first time
		if x.fresh {
			group = unique("startup")
		}
		sleep(ctx, settle)
		begin := time.Now()
		if client == nil {
			if client, err = r.Connect(ctx, set); err != nil {
				return nil, err
			}
		}
		c, err := client.Candidate(group, fmt.Sprint("candidate-", i))
		if err == nil {
			err = c.Lead(ctx)
		}
		if err != nil {
			client.Close()
			return nil, err
		}
		if i > 0 {
			took = append(took, time.Since(begin))
		}
		err = c.Resign(ctx)
		if !x.warm || err != nil || i == starts {
			client.Close()
			client = nil
		}
		if err != nil {
			return nil, err
		}
	}
	return took, nil
}
