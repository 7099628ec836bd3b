//go:build unix

package section

import (
	"context"
	"errors"
	"fmt"
	"math"
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
// at the same time, since nearly all of it is waiting. A round begins for all of
// them together, and they take their groups one after the other, so that this is
// done before anything is renewed, and before anything is taken over.
func (b *Bench) Takeovers(ctx context.Context) {
	var all []*kills
	b.each(func(s *store.Server) {
		if s.Name == "memory" {
			b.Gap(errInProcess, "%s, %s", Takeover, s.Title)
			return
		}
		for _, r := range rival.On(s.Name) {
			all = append(all, &kills{s: s, r: r, whole: true})
		}
	})
	for range b.Kills {
		var wg sync.WaitGroup
		for _, k := range all {
			if k.whole {
				wg.Go(func() {
					k.whole = b.try(ctx, fmt.Sprintf("%s, %s, %s", Takeover, k.s.Title, k.r.Library), func() error { return b.killOf(ctx, k) })
				})
			}
		}
		wg.Wait()
	}
	for _, k := range all {
		if k.whole {
			b.takeoversOf(ctx, k)
		}
	}
}

// kills are those of one library on one store.
type kills struct {
	s     *store.Server
	r     rival.Rival
	whole bool // none has failed

	killing
	rounds    []float64
	discarded int
}

// killTries is how often a kill is tried until it is early enough.
const killTries = 3

// anySession is the share of the TTL within which a library is killed that may
// renew at any moment.
const anySession = 0.25

// errRenewed is why a kill counts for nothing.
var errRenewed = errors.New("the process was killed so late that it may have renewed its leases before, so that their end is not known")

// killOf makes one kill, and another one in the place of one that came too late.
func (b *Bench) killOf(ctx context.Context, all *kills) (err error) {
	set := b.setting(all.s)
	for range killTries {
		var k killing
		k, err = b.takeovers(ctx, all.r, set, b.Groups)
		if errors.Is(err, errRenewed) {
			all.discarded += b.Groups
			b.say("takeover, %s, %s: %v; discarded", all.s.Title, all.r.Library, err)
			continue
		}
		all.killed, all.beyond = append(all.killed, k.killed...), append(all.beyond, k.beyond...)
		all.within = max(all.within, k.within)
		// Without the time that the follower took to join, which is no part of it.
		all.rounds = append(all.rounds, measure.Quantile(measure.Millis(k.beyond), 0.5)+float64(set.TTL.Milliseconds()))
		return err
	}
	return fmt.Errorf("%d times: %w", killTries, err)
}

func (b *Bench) takeoversOf(ctx context.Context, k *kills) {
	set := b.setting(k.s)
	row := row(Takeover, k.s, k.r, fmt.Sprintf("%d groups", b.Groups))
	kms, bms := measure.Millis(k.killed), measure.Millis(k.beyond)
	row.Figures = []measure.Figure{
		{Name: "takeovers", Value: float64(len(kms))}, {Name: "discarded", Value: float64(k.discarded)}, {Name: "TTL s", Value: set.TTL.Seconds()},
		{Name: "p50 s after the kill", Value: measure.Quantile(kms, 0.5) / 1000},
		{Name: "lease's beginning known within ms", Value: math.Ceil(float64(k.within) / float64(time.Millisecond))},
		{Name: "min ms beyond the TTL", Value: measure.Quantile(bms, 0)},
		{Name: "p50 ms beyond", Value: measure.Quantile(bms, 0.5)}, {Name: "p99 ms beyond", Value: measure.Quantile(bms, 0.99)},
	}
	if k.r.Ours {
		b.try(ctx, fmt.Sprintf("%s, %s, what is declared", Takeover, k.s.Title), func() error {
			d, err := declared(ctx, set)
			if err == nil {
				row.Figures = append(row.Figures, measure.Figure{Name: "declared ms beyond, at most", Value: float64((d - set.TTL).Milliseconds())})
			}
			return err
		})
	}
	row.Rounds = k.rounds
	b.add(row)
	b.say("takeover, %s, %s: p50 %.3g s after the kill; beyond the TTL p50 %.4g ms, p99 %.4g ms", k.s.Title, k.r.Library,
		measure.Quantile(kms, 0.5)/1000, measure.Quantile(bms, 0.5), measure.Quantile(bms, 0.99))
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

// killing is what one kill has led to, group by group.
type killing struct {
	// killed is how long after the kill a group was led again, and beyond how much
	// longer than one TTL after its acquisition.
	killed, beyond []time.Duration
	// within is how far from what is assumed that moment can be, see known.
	within time.Duration
}

// known tells how well it is known from when on the leases of a killed process
// run, and false if it may have renewed them. The process was started, began its
// attempts, led and was killed at these moments.
func known(r rival.Rival, ttl time.Duration, started time.Time, began, led map[string]time.Time, killed time.Time) (within time.Duration, ok bool) {
	if r.Renews == 0 { // at any moment of its life
		within = killed.Sub(started)
		return within, within < time.Duration(anySession*float64(ttl))
	}
	first := killed
	for g, at := range began {
		if at.Before(first) {
			first = at
		}
		within = max(within, led[g].Sub(at))
	}
	return within, killed.Sub(first) < time.Duration(r.Renews*float64(ttl))
}

// win is a group that a follower leads, or has failed to.
type win struct {
	group string
	at    time.Time
	err   error
}

// takeovers kills one leader of many groups before it has renewed anything, and
// fails with errRenewed if that was not managed.
func (b *Bench) takeovers(ctx context.Context, r rival.Rival, set rival.Setting, groups int) (k killing, err error) {
	follower, err := r.Connect(ctx, set) // first, so that nothing delays the kill
	if err != nil {
		return k, err
	}
	defer follower.Close()
	play, stop := context.WithCancel(ctx)
	defer stop()
	wins := make(chan win, groups)
	led, at, err := b.kill(ctx, play, r, set, groups, follower, wins, &k)
	if err != nil {
		return k, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute+5*set.TTL, errors.New("it took too long"))
	defer cancel()
	for range groups {
		select {
		case w := <-wins:
			if w.err != nil {
				return k, fmt.Errorf("%s: %w", w.group, w.err)
			}
			k.killed = append(k.killed, w.at.Sub(at))
			k.beyond = append(k.beyond, w.at.Sub(led[w.group].Add(set.TTL)))
		case <-ctx.Done():
			return k, fmt.Errorf("%d of %d groups were taken over: %w", len(k.killed), groups, context.Cause(ctx))
		}
	}
	return k, nil
}

// kill lets a process lead groups and a follower follow them, and kills the
// process. Of several libraries one at a time begins so.
func (b *Bench) kill(ctx, play context.Context, r rival.Rival, set rival.Setting, groups int, follower rival.Client, wins chan<- win, k *killing) (led map[string]time.Time, at time.Time, err error) {
	names := make([]string, groups)
	for i := range names {
		names[i] = unique("takeover")
	}
	b.first.Lock()
	started := time.Now()
	victim, err := child.Start(child.Task{Setting: set, Library: r.Library, Groups: names, Name: "victim"})
	if err == nil {
		defer victim.Kill()
		limited, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("it took too long"))
		defer cancel()
		led, err = victim.Leads(limited, groups)
	}
	b.first.Unlock()
	if err != nil {
		return nil, at, err
	}
	for _, g := range names {
		c, err := follower.Candidate(g, "follower")
		if err != nil {
			return nil, at, err
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
	at = victim.Kill()
	var ok bool
	if k.within, ok = known(r, set.TTL, started, victim.Began(), led, at); !ok {
		return nil, at, errRenewed
	}
	return led, at, ctx.Err()
}
