//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/store"
)

// Handover is the name of its section.
const Handover = "handover"

// settle is how long everybody is left alone before the leader resigns: those
// that have lost go back to waiting. In a process, a moment is enough for that; the
// code and data of the handover before are still in the processor's caches then.
const (
	settle = 25 * time.Millisecond
	moment = 200 * time.Microsecond
)

// Handovers measures the time from the beginning of a planned resignation until
// another candidate knows that it leads. Each candidate has a client of its own,
// as in a process of its own; the one that has resigned comes back after its
// successor leads.
func (b *Bench) Handovers(ctx context.Context) {
	for _, candidates := range b.Candidates {
		b.each(func(s *store.Server) {
			b.handoversOn(ctx, s, candidates, settle, fmt.Sprintf("%d candidates", candidates))
			if s.Name == "memory" && candidates == 2 { // a crowd is not ready again in a moment
				b.handoversOn(ctx, s, candidates, moment, fmt.Sprintf("%d candidates, one handover after another", candidates))
			}
		})
	}
}

func (b *Bench) handoversOn(ctx context.Context, s *store.Server, candidates int, rest time.Duration, label string) {
	set := b.setting(s)
	set.Hurry = true
	rivals := rival.WithFloors(s.Name)
	all := make([][]time.Duration, len(rivals))
	rounds := make([][]float64, len(rivals))
	what := func(r rival.Rival) string {
		return fmt.Sprintf("%s, %s, %s, %s", Handover, s.Title, r.Library, label)
	}
	whole := b.inTurn(ctx, rivals, what, func(i int, r rival.Rival) error {
		took, err := handovers(ctx, r, set, candidates, rest, max(1, b.Options.Handovers/b.Rounds))
		all[i] = append(all[i], took...)
		rounds[i] = append(rounds[i], measure.Quantile(measure.Millis(took), 0.5))
		return err
	})
	for i, r := range rivals {
		if !whole[i] {
			continue
		}
		ms := measure.Millis(all[i])
		row := row(Handover, s, r, label)
		row.Figures = []measure.Figure{
			{Name: "handovers", Value: float64(len(ms))},
			{Name: "p50 ms", Value: measure.Quantile(ms, 0.5)}, {Name: "p99 ms", Value: measure.Quantile(ms, 0.99)},
			{Name: "max ms", Value: measure.Quantile(ms, 1)},
		}
		row.Rounds = rounds[i]
		b.add(row)
		b.say("handover, %s, %s, %s: p50 %.3g ms, p99 %.3g ms", s.Title, r.Library, label, row.Figures[1].Value, row.Figures[2].Value)
	}
}

// handovers makes count of them. Followers that poll mostly sleep, so that
// several groups are measured at once, as long as all of them together make no
// more than a hundred attempts a second.
func handovers(ctx context.Context, r rival.Rival, set rival.Setting, candidates int, rest time.Duration, count int) ([]time.Duration, error) {
	groups := 1
	if r.Poll > 0 {
		groups = min(count, max(1, int(100*r.Poll.Seconds())/candidates))
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	clients := make([]rival.Client, candidates)
	var shut sync.WaitGroup
	defer func() {
		for _, c := range clients {
			if c != nil {
				shut.Go(c.Close)
			}
		}
		shut.Wait()
	}()
	for i := range clients {
		var err error
		if clients[i], err = r.Connect(ctx, set); err != nil {
			return nil, fmt.Errorf("client %d: %w", i, err)
		}
	}
	var (
		mu   sync.Mutex
		all  []time.Duration
		errs []error
		wg   sync.WaitGroup
	)
	for g := range groups {
		name, n := unique("handover"), count/groups
		if g < count%groups {
			n++
		}
		wg.Go(func() {
			took, err := handoversIn(ctx, r, clients, name, rest, n)
			mu.Lock()
			defer mu.Unlock()
			all, errs = append(all, took...), append(errs, err)
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// player is one candidate of a group that is handed over again and again.
type player struct {
	rival.Candidate
	campaign, resign chan struct{}
}

type won struct {
	who int
	at  time.Time
}

func handoversIn(ctx context.Context, r rival.Rival, clients []rival.Client, group string, rest time.Duration, count int) (took []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	wins := make(chan won, len(clients))
	began := make(chan time.Time, 1)
	players := make([]player, len(clients))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(errors.New("the measurement is over"))
	for i, client := range clients {
		c, err := client.Candidate(group, fmt.Sprintf("candidate-%d", i))
		if err != nil {
			return nil, err
		}
		players[i] = player{c, make(chan struct{}, 1), make(chan struct{})}
		players[i].campaign <- struct{}{}
		wg.Go(func() {
			if err := players[i].play(ctx, i, wins, began); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("candidate %d: %w", i, err))
			}
		})
	}
	next := func() (w won, err error) {
		select {
		case w = <-wins:
			return w, nil
		case <-time.After(2 * time.Minute):
			return w, errors.New("nobody has led for two minutes")
		case <-ctx.Done():
			return w, context.Cause(ctx)
		}
	}
	leader, err := next()
	if err != nil {
		return nil, err
	}
	sleep(ctx, max(4*settle, time.Duration(len(clients))*settle))
	for range count {
		// Followers that poll are met at any moment of their sleep.
		pause := rest + r.Settle
		if r.Poll > 0 {
			pause += rand.N(2 * r.Poll / time.Duration(len(clients)))
		}
		sleep(ctx, pause)
		select {
		case players[leader.who].resign <- struct{}{}:
		case <-ctx.Done(): // the player may be gone
			return took, context.Cause(ctx)
		}
		successor, err := next()
		if err != nil {
			return took, err
		}
		took = append(took, successor.at.Sub(<-began))
		players[leader.who].campaign <- struct{}{}
		leader = successor
	}
	return took, nil
}

// play campaigns when it is told to and resigns when it is told to. A leader
// resigns at the end too, so that nobody has to wait for a lease to run out.
func (p *player) play(ctx context.Context, who int, wins chan<- won, began chan<- time.Time) error {
	for {
		select {
		case <-p.campaign:
		case <-ctx.Done():
			return nil
		}
		if err := p.Lead(ctx); err != nil {
			return err
		}
		wins <- won{who, time.Now()}
		select {
		case <-p.resign:
			began <- time.Now()
		case <-ctx.Done():
		}
		if err := p.Resign(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
}
