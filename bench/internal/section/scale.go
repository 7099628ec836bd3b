//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/multilock/multilock-go/bench/internal/child"
	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/store"
)

// Scale is the name of its section.
const Scale = "scale"

// few is up to how many groups several stores are measured at the same time.
const few = 100

// azblobMost is for a store that answers one request per group and heartbeat.
const azblobMost = 100

// Scales lets one process lead many groups and another follow them, and tells
// what either costs; then the leader is killed, and all groups have to move.
func (b *Bench) Scales(ctx context.Context) {
	for _, n := range b.Scale {
		var wg sync.WaitGroup
		b.each(func(s *store.Server) {
			r := rival.On(s.Name)[0]
			if !r.Ours {
				return
			}
			if s.Name == "azblob" && n > azblobMost {
				b.Gap(fmt.Errorf("each group is a request per heartbeat, more than the emulator answers; measured up to %d", azblobMost), "%s, %s, %d groups", Scale, s.Title, n)
				return
			}
			if n > few {
				b.scaleOn(ctx, s, r, n)
				return
			}
			wg.Go(func() { b.scaleOn(ctx, s, r, n) })
		})
		wg.Wait()
	}
}

func (b *Bench) scaleOn(ctx context.Context, s *store.Server, r rival.Rival, n int) {
	defer s.StopCounting()
	row := row(Scale, s, r, fmt.Sprintf("%d groups", n))
	row.X = float64(n)
	what := fmt.Sprintf("%s, %s, %d groups", Scale, s.Title, n)
	if !b.try(ctx, what, func() error { return b.scale(ctx, s, n, &row) }) {
		return
	}
	b.add(row)
	all, _ := row.Figure("all moved after s")
	asked, _ := row.Figure("requests /s")
	kib, _ := row.Figure("leader: KiB per group")
	b.say("scale, %s, %d groups: %.3g requests per second, %.3g KiB per group of the leader, all moved after %.3g s", s.Title, n, asked, kib, all)
}

func (b *Bench) scale(ctx context.Context, s *store.Server, n int, row *measure.Row) error {
	set := b.counted(s)
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, errors.New("it took more than ten minutes"))
	defer cancel()
	names := make([]string, n)
	for i := range names {
		names[i] = unique("scale")
	}
	put := func(name string, value float64) {
		row.Figures = append(row.Figures, measure.Figure{Name: name, Value: value})
	}
	begin := time.Now()
	leader, err := child.Start(child.Task{Setting: set, Groups: names, Name: "leader"})
	if err != nil {
		return err
	}
	defer leader.Kill()
	if _, err := leader.Leads(ctx, n); err != nil {
		return fmt.Errorf("the leader: %w", err)
	}
	put("all led after s", time.Since(begin).Seconds())
	if err := leader.Follows(ctx); err != nil {
		return fmt.Errorf("the leader: %w", err)
	}
	processes := []*child.Process{leader}
	alone := s.Name == "memory" // which nobody else can reach
	if !alone {
		follower, err := child.Start(child.Task{Setting: set, Groups: names, Name: "follower"})
		if err != nil {
			return err
		}
		defer follower.Kill()
		if err := follower.Follows(ctx); err != nil {
			return fmt.Errorf("the follower: %w", err)
		}
		processes = append(processes, follower)
	}
	// The first renewal may make sure of more than later ones, and followers ask once
	// more when their watches are in force.
	sleep(ctx, set.TTL)
	if err := b.steady(ctx, s, n, processes, put); err != nil {
		return err
	}
	if alone {
		return nil
	}
	return moved(ctx, n, set.TTL, leader, processes[1], put)
}

// steady measures what the processes and the store do while nothing happens.
func (b *Bench) steady(ctx context.Context, s *store.Server, n int, processes []*child.Process, put func(string, float64)) error {
	before := make([]child.Stats, len(processes))
	for i, p := range processes {
		var err error
		if before[i], err = p.Stats(ctx); err != nil {
			return err
		}
	}
	requests := func() (float64, error) { return 0, nil }
	if s.Requests != nil {
		requests = func() (float64, error) { return s.Requests(ctx) }
	}
	asked, err := requests()
	if err != nil {
		return err
	}
	computed, hasProcess := s.CPU()
	begin := time.Now()
	sleep(ctx, b.Window)
	now, err := requests()
	if err != nil {
		return err
	}
	took := time.Since(begin)
	computedNow, _ := s.CPU()
	for i, p := range processes {
		after, err := p.Stats(ctx)
		if err != nil {
			return err
		}
		who, was := []string{"leader", "follower"}[i], before[i]
		put(who+": connections", float64(was.Connections))
		put(who+": goroutines per group", float64(was.Goroutines-was.BaseGoroutines)/float64(n))
		put(who+": KiB per group", (float64(was.Bytes)-float64(was.BaseBytes))/float64(n)/1024)
		put(who+": CPU %", 100*float64(after.Before-was.CPU)/float64(after.Asked.Sub(was.At)))
	}
	if s.Requests != nil {
		put("requests /s", (now-asked)/took.Seconds())
	}
	if hasProcess {
		put("store: CPU %", 100*float64(computedNow-computed)/float64(took))
	}
	return ctx.Err()
}

// moved kills the leader and waits for the follower to lead every group.
func moved(ctx context.Context, n int, ttl time.Duration, leader, follower *child.Process, put func(string, float64)) error {
	early, err := follower.Leads(ctx, 0)
	if err != nil {
		return err
	}
	if len(early) > 0 {
		return fmt.Errorf("the follower led %d groups before the leader was killed", len(early))
	}
	at := leader.Kill()
	led, err := follower.Leads(ctx, n)
	if err != nil {
		return fmt.Errorf("after the kill: %w", err)
	}
	var after []time.Duration
	for _, t := range led {
		after = append(after, t.Sub(at))
	}
	slices.Sort(after)
	put("half moved after s", after[len(after)/2].Seconds())
	put("all moved after s", after[len(after)-1].Seconds())
	put("beyond the TTL s", (after[len(after)-1] - ttl).Seconds())
	return nil
}
