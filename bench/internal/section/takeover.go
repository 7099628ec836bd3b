//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multilock/multilock-go/bench/internal/child"
	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/store"
	multilock "github.com/multilock/multilock-go/core"
)

// Takeover is the name of its section.
const Takeover = "takeover"

// errInProcess is why the memory store has no takeover.
var errInProcess = errors.New("a store inside one process dies with it")

// Takeovers kills processes that lead, as kill -9 does, and measures when the
// followers, in another process, know that they lead. All libraries are measured
// at the same time, since nearly all of it is waiting.
func (b *Bench) Takeovers(ctx context.Context) {
	var wg sync.WaitGroup
	b.each(func(s *store.Server) {
		if s.Name == "memory" {
			b.Gap(errInProcess, "%s, %s", Takeover, s.Title)
			return
		}
		for _, r := range rival.On(s.Name) {
			wg.Go(func() { b.takeoversOf(ctx, s, r) })
		}
	})
	wg.Wait()
}

func (b *Bench) takeoversOf(ctx context.Context, s *store.Server, r rival.Rival) {
	set := b.setting(s)
	var killed, beyond []time.Duration
	var rounds []float64
	for range b.Kills {
		ok := b.try(ctx, fmt.Sprintf("%s, %s, %s", Takeover, s.Title, r.Library), func() error {
			k, bey, err := takeovers(ctx, r, set, b.Groups)
			killed, beyond = append(killed, k...), append(beyond, bey...)
			// Without the time that the follower took to join, which is no part of it.
			rounds = append(rounds, measure.Quantile(measure.Millis(bey), 0.5)+float64(set.TTL.Milliseconds()))
			return err
		})
		if !ok {
			return
		}
	}
	row := row(Takeover, s, r, fmt.Sprintf("%d groups", b.Groups))
	kms, bms := measure.Millis(killed), measure.Millis(beyond)
	ttl := set.TTL
	row.Figures = []measure.Figure{
		{Name: "takeovers", Value: float64(len(kms))}, {Name: "TTL s", Value: ttl.Seconds()},
		{Name: "p50 s after the kill", Value: measure.Quantile(kms, 0.5) / 1000},
		{Name: "min ms beyond the TTL", Value: measure.Quantile(bms, 0)},
		{Name: "p50 ms beyond", Value: measure.Quantile(bms, 0.5)}, {Name: "p99 ms beyond", Value: measure.Quantile(bms, 0.99)},
	}
	if r.Ours {
		b.try(ctx, fmt.Sprintf("%s, %s, what is declared", Takeover, s.Title), func() error {
			d, err := declared(ctx, set)
			if err == nil {
				row.Figures = append(row.Figures, measure.Figure{Name: "declared ms beyond, at most", Value: float64((d - ttl).Milliseconds())})
			}
			return err
		})
	}
	row.Rounds = rounds
	b.add(row)
	b.say("takeover, %s, %s: p50 %.3g s after the kill; beyond the TTL p50 %.4g ms, p99 %.4g ms", s.Title, r.Library, row.Figures[2].Value, row.Figures[4].Value, row.Figures[5].Value)
}

// declared is the worst case that MultiLock itself computes.
func declared(ctx context.Context, set rival.Setting) (time.Duration, error) {
	backend, err := rival.Open(ctx, set)
	if err != nil {
		return 0, err
	}
	defer backend.Close(ctx)
	e, err := multilock.New(backend, multilock.Options{Group: "declared", HeartbeatTimeout: set.TTL})
	if err != nil {
		return 0, err
	}
	return e.WorstCaseFailover(), nil
}

// takeovers kills one leader of many groups. Beyond is how much longer than one
// TTL after its acquisition a group had no leader; the leader is killed before it
// has renewed anything.
func takeovers(ctx context.Context, r rival.Rival, set rival.Setting, groups int) (killed, beyond []time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute+5*set.TTL, errors.New("it took too long"))
	defer cancel()
	names := make([]string, groups)
	for i := range names {
		names[i] = unique("takeover")
	}
	follower, err := r.Connect(ctx, set) // first, so that nothing delays the kill
	if err != nil {
		return nil, nil, err
	}
	defer follower.Close()
	victim, err := child.Start(child.Task{Setting: set, Library: r.Library, Groups: names, Name: "victim"})
	if err != nil {
		return nil, nil, err
	}
	defer victim.Kill()
	led, err := victim.Leads(ctx, groups)
	if err != nil {
		return nil, nil, err
	}
	play, stop := context.WithCancel(ctx)
	defer stop()
	type win struct {
		group string
		at    time.Time
		err   error
	}
	wins := make(chan win, groups)
	for _, g := range names {
		c, err := follower.Candidate(g, "follower")
		if err != nil {
			return nil, nil, err
		}
		go func() {
			err := c.Lead(play)
			wins <- win{g, time.Now(), err}
			if err == nil {
				<-play.Done()
				_ = c.Resign(ctx)
			}
		}()
	}
	sleep(ctx, 500*time.Millisecond) // they have found out that they follow
	at := victim.Kill()
	for range groups {
		select {
		case w := <-wins:
			if w.err != nil {
				return nil, nil, fmt.Errorf("%s: %w", w.group, w.err)
			}
			killed = append(killed, w.at.Sub(at))
			beyond = append(beyond, w.at.Sub(led[w.group].Add(set.TTL)))
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%d of %d groups were taken over: %w", len(killed), groups, context.Cause(ctx))
		}
	}
	return killed, beyond, nil
}
