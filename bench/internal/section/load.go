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

// windowTTLs is how many TTLs a window lasts.
const windowTTLs = 3

// crowd is how many candidates there are at least: few followers have several
// groups, so that one look more or less is not much of what is counted.
const crowd = 40

// starting is how many servers are started at the same time.
const starting = 2

// Loads counts, at the store, what one leader and its followers ask of it while
// nothing happens, each with a client of its own. Every library and number of
// followers has a server of its own, so that all are counted at the same time: a
// number of requests does not depend on how fast they are, and an even load is
// small. Only those that poll all the time come after the others, lest they slow
// them, and themselves, down.
func (b *Bench) Loads(ctx context.Context) {
	start := make(chan struct{}, starting)
	b.each(func(s *store.Server) {
		if s.Requests == nil {
			b.Gap(errors.New("there is no server to count at"), "%s, %s", Load, s.Title)
		}
	})
	for _, busy := range []bool{false, true} {
		var wg sync.WaitGroup
		b.each(func(s *store.Server) {
			for _, n := range b.Followers {
				for _, r := range rival.On(s.Name) {
					if s.Requests != nil && busy == (r.Poll > 0 && r.Poll < time.Second) {
						wg.Go(func() { b.loadOf(ctx, s, r, n, start) })
					}
				}
			}
		})
		wg.Wait()
	}
}

func (b *Bench) loadOf(ctx context.Context, s *store.Server, r rival.Rival, n int, start chan struct{}) {
	label := fmt.Sprintf("1 leader, %d followers", n)
	var rates []float64
	ok := b.try(ctx, fmt.Sprintf("%s, %s, %s, %s", Load, s.Title, r.Library, label), func() error {
		start <- struct{}{}
		if ctx.Err() != nil {
			<-start
			return ctx.Err()
		}
		server, err := store.Start(s.Name)
		<-start
		if err != nil {
			return err
		}
		defer server.Close()
		sleep(ctx, time.Until(server.Settled))
		rates, err = loads(ctx, r, b.counted(server), n, b.Windows, server)
		return err
	})
	if !ok {
		return
	}
	rate := 0.0
	for _, x := range rates {
		rate += x / float64(len(rates))
	}
	row := row(Load, s, r, label)
	row.X, row.Rounds = float64(n), rates
	ttl := b.TTLOn(s.Name).Seconds()
	row.Figures = []measure.Figure{
		{Name: "counted s", Value: float64(len(rates)) * windowTTLs * ttl},
		{Name: "requests /s", Value: rate}, {Name: "per candidate and TTL", Value: rate * ttl / float64(n+1)},
	}
	b.add(row)
	b.say("load, %s, %s, %s: %.3g requests per second", s.Title, r.Library, label, rate)
}

// loads counts in windows, one after the other, and tells the requests per second
// of one group in each of them.
func loads(ctx context.Context, r rival.Rival, set rival.Setting, followers, windows int, s *store.Server) (rates []float64, err error) {
	length := windowTTLs * set.TTL
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(windows)*length+2*set.TTL+2*time.Minute, errors.New("it took too long"))
	defer cancel()
	play, stop := context.WithCancel(ctx)
	groups := max(1, crowd/(followers+1))
	failed := make(chan error, groups*(followers+1))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for g := range groups {
		name, led := unique("load"), make(chan struct{})
		for i := range followers + 1 {
			// Spread over one TTL, so that what each does from time to time is too.
			wait := set.TTL * time.Duration(i*groups+g) / time.Duration(groups*(followers+1))
			wg.Go(func() {
				sleep(play, wait)
				if i > 0 {
					select {
					case <-led:
					case <-play.Done():
						return
					}
				}
				if err := take(play, r, set, name, i, led); err != nil && play.Err() == nil {
					failed <- fmt.Errorf("candidate %d: %w", i, err)
				}
			})
		}
	}
	sleep(ctx, 2*set.TTL) // all have begun, and have done for a TTL what they will go on to do
	count, at := 0.0, time.Now()
	for i := range windows + 1 {
		if i > 0 {
			sleep(ctx, time.Until(at.Add(length)))
		}
		n, err := s.Requests(ctx)
		if err != nil {
			return nil, err
		}
		now := time.Now()
		if i > 0 {
			rates = append(rates, (n-count)/now.Sub(at).Seconds()/float64(groups))
		}
		count, at = n, now
	}
	select {
	case err := <-failed:
		return nil, err
	default:
		return rates, ctx.Err()
	}
}

// take takes part in a group until ctx ends: the first candidate leads, and closes
// led; the others must not.
func take(ctx context.Context, r rival.Rival, set rival.Setting, group string, i int, led chan<- struct{}) error {
	client, err := r.Connect(ctx, set)
	if err != nil {
		return err
	}
	defer client.Close()
	c, err := client.Candidate(group, fmt.Sprintf("candidate-%d", i))
	if err != nil {
		return err
	}
	if err := c.Lead(ctx); err != nil {
		return err
	}
	if i > 0 {
		err = errors.New("a follower leads, though the leader has not resigned")
	} else {
		close(led)
		<-ctx.Done()
	}
	return errors.Join(err, c.Resign(context.WithoutCancel(ctx)))
}
