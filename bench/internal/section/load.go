//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/store"
)

// Load is the name of its section.
const Load = "load"

// Loads counts, at the store, what one leader and its followers ask of it while
// nothing happens, each with a client of its own. Stores are measured at the same
// time, since a number of requests does not depend on how fast they are.
func (b *Bench) Loads(ctx context.Context) {
	var wg sync.WaitGroup
	b.each(func(s *store.Server) {
		if s.Requests == nil {
			b.Gap(errors.New("there is no server to count at"), "%s, %s", Load, s.Title)
			return
		}
		wg.Go(func() { b.loadOn(ctx, s) })
	})
	wg.Wait()
}

func (b *Bench) loadOn(ctx context.Context, s *store.Server) {
	defer s.StopCounting()
	for _, n := range b.Followers {
		label := fmt.Sprintf("1 leader, %d followers", n)
		for _, r := range rival.On(s.Name) {
			var rate float64
			ok := b.try(ctx, fmt.Sprintf("%s, %s, %s, %s", Load, s.Title, r.Library, label), func() (err error) {
				rate, err = load(ctx, r, b.counted(s), n, b.Window, s)
				return err
			})
			if !ok {
				continue
			}
			row := row(Load, s, r, label)
			row.X, row.Rounds = float64(n), []float64{rate}
			row.Figures = []measure.Figure{
				{Name: "requests /s", Value: rate}, {Name: "per candidate and TTL", Value: rate * b.TTLOn(s.Name).Seconds() / float64(n+1)},
			}
			b.add(row)
			b.say("load, %s, %s, %s: %.3g requests per second", s.Title, r.Library, label, rate)
		}
	}
}

func load(ctx context.Context, r rival.Rival, set rival.Setting, followers int, window time.Duration, s *store.Server) (float64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, window+2*time.Minute, errors.New("it took too long"))
	defer cancel()
	group := unique("load")
	var clients []rival.Client
	var wg sync.WaitGroup
	defer func() {
		for _, c := range clients {
			wg.Go(c.Close)
		}
		wg.Wait()
	}()
	play, stop := context.WithCancel(ctx)
	defer stop()
	failed := make(chan error, followers+1)
	var leader rival.Candidate
	for i := range followers + 1 {
		client, err := r.Connect(ctx, set)
		if err != nil {
			return 0, fmt.Errorf("client %d: %w", i, err)
		}
		clients = append(clients, client)
		c, err := client.Candidate(group, fmt.Sprintf("candidate-%d", i))
		if err != nil {
			return 0, err
		}
		if i == 0 {
			if err := c.Lead(play); err != nil {
				return 0, err
			}
			leader = c
			continue
		}
		wg.Go(func() {
			err := c.Lead(play)
			if err == nil {
				err = errors.New("a follower leads, though the leader has not resigned")
				defer c.Resign(ctx)
			}
			if play.Err() == nil {
				failed <- fmt.Errorf("candidate %d: %w", i, err)
			}
		})
	}
	sleep(ctx, set.TTL/2) // followers have found out that they are, and the leader has renewed
	before, err := s.Requests(ctx)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	sleep(ctx, window)
	after, err := s.Requests(ctx)
	if err != nil {
		return 0, err
	}
	took := time.Since(begin)
	stop()
	_ = leader.Resign(ctx) // a lease that cannot be given back runs out
	select {
	case err := <-failed:
		return 0, err
	default:
		return (after - before) / took.Seconds(), ctx.Err()
	}
}
