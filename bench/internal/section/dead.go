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
)

// Dead is the name of its section.
const Dead = "dead"

// survivors are the followers besides the one that is killed.
const survivors = 2

// Between the death of a follower and the resignation of the leader lies afterDeath.
// A handover that has not happened within patience is not waited for alone.
const (
	afterDeath = 5 * time.Millisecond
	patience   = time.Second
)

// DeadCandidates measures handovers where the follower that is next in line, as
// far as a library has a line, has just been killed, as kill -9 does, and its
// store has not noticed yet.
func (b *Bench) DeadCandidates(ctx context.Context) {
	b.each(func(s *store.Server) {
		if s.Name == "memory" {
			b.Gap(errInProcess, "%s, %s", Dead, s.Title)
			return
		}
		b.deadOn(ctx, s)
	})
}

func (b *Bench) deadOn(ctx context.Context, s *store.Server) {
	rivals := rival.WithFloors(s.Name)
	rounds := make([][]float64, len(rivals)) // of each handover, since they are few
	set := b.setting(s)
	set.Hurry = true
	what := func(r rival.Rival) string { return fmt.Sprintf("%s, %s, %s", Dead, s.Title, r.Library) }
	whole := b.inTurn(ctx, rivals, what, func(i int, r rival.Rival) error {
		took, err := pastTheDead(ctx, r, set, b.Dead)
		rounds[i] = append(rounds[i], measure.Millis(took)...)
		return err
	})
	for i, r := range rivals {
		if !whole[i] {
			continue
		}
		ms := rounds[i]
		row := row(Dead, s, r, fmt.Sprintf("1 leader, %d followers, one dead", survivors+1))
		row.Figures = []measure.Figure{
			{Name: "handovers", Value: float64(len(ms))}, {Name: "TTL s", Value: b.TTLOn(s.Name).Seconds()},
			{Name: "p50 ms", Value: measure.Quantile(ms, 0.5)}, {Name: "max ms", Value: measure.Quantile(ms, 1)},
		}
		row.Rounds = ms
		b.add(row)
		b.say("dead, %s, %s: p50 %.4g ms, max %.4g ms", s.Title, r.Library, measure.Quantile(ms, 0.5), measure.Quantile(ms, 1))
	}
}

// pastTheDead makes count such handovers, each in a group of its own with clients
// of its own. All groups are made ready at once, then the leaders resign one after
// the other: the next one waits for a handover, but not for the death of a session.
func pastTheDead(ctx context.Context, r rival.Rival, set rival.Setting, count int) ([]time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute+5*set.TTL, errors.New("it took too long"))
	defer cancel()
	groups := make([]*bereaved, count)
	errs := make([]error, count)
	var wg sync.WaitGroup
	for i := range groups {
		groups[i] = &bereaved{wins: make(chan win, survivors)}
		wg.Go(func() { errs[i] = groups[i].begin(ctx, r, set) })
	}
	wg.Wait()
	defer func() {
		for _, g := range groups {
			wg.Go(g.end)
		}
		wg.Wait()
	}()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	took := make([]time.Duration, count)
	var late sync.WaitGroup
	for i, g := range groups {
		done := make(chan struct{})
		late.Go(func() {
			defer close(done)
			took[i], errs[i] = g.handover(ctx)
		})
		select {
		case <-done:
		case <-time.After(patience):
		}
	}
	late.Wait()
	return took, errors.Join(errs...)
}

// bereaved is a group in which a follower dies.
type bereaved struct {
	clients []rival.Client
	leader  rival.Candidate
	next    *child.Process // the follower that began to wait first
	stop    context.CancelFunc
	play    sync.WaitGroup
	wins    chan win
}

func (g *bereaved) begin(ctx context.Context, r rival.Rival, set rival.Setting) error {
	play, stop := context.WithCancel(ctx)
	g.stop = stop
	name := unique("dead")
	candidates := make([]rival.Candidate, 1+survivors)
	for i := range candidates {
		client, err := r.Connect(ctx, set)
		if err != nil {
			return fmt.Errorf("client %d: %w", i, err)
		}
		g.clients = append(g.clients, client)
		if candidates[i], err = client.Candidate(name, fmt.Sprintf("candidate-%d", i)); err != nil {
			return err
		}
	}
	if err := candidates[0].Lead(play); err != nil {
		return err
	}
	g.leader = candidates[0]
	var err error
	if g.next, err = child.Start(child.Task{Setting: set, Library: r.Library, Groups: []string{name}, Name: "next"}); err != nil {
		return err
	}
	if err := g.next.Campaigns(ctx); err != nil {
		return err
	}
	sleep(ctx, patience) // it has queued, where there is a queue
	for i, c := range candidates[1:] {
		g.play.Go(func() {
			err := c.Lead(play)
			g.wins <- win{fmt.Sprintf("candidate %d", i+1), time.Now(), err}
			if err == nil {
				<-play.Done()
				_ = c.Resign(context.WithoutCancel(ctx)) // a lease that cannot be given back runs out
			}
		})
	}
	sleep(ctx, patience/2+r.Settle)
	return ctx.Err()
}

// handover kills the one that is next, lets the leader resign, and measures how
// long after the beginning of that a survivor knows that it leads.
func (g *bereaved) handover(ctx context.Context) (time.Duration, error) {
	if led, err := g.next.Leads(ctx, 0); err != nil {
		return 0, fmt.Errorf("the one to be killed: %w", err)
	} else if len(led) > 0 {
		return 0, errors.New("the one to be killed leads before the resignation")
	}
	g.next.Kill()
	sleep(ctx, afterDeath)
	select {
	case w := <-g.wins:
		return 0, errors.Join(fmt.Errorf("the wait of %s was over before the resignation", w.group), w.err)
	default:
	}
	began := time.Now()
	if err := g.leader.Resign(ctx); err != nil {
		return 0, fmt.Errorf("resigning: %w", err)
	}
	g.leader = nil
	select {
	case w := <-g.wins:
		if w.err != nil {
			return 0, fmt.Errorf("%s: %w", w.group, w.err)
		}
		return w.at.Sub(began), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("nobody leads: %w", context.Cause(ctx))
	}
}

func (g *bereaved) end() {
	g.stop()
	if g.leader != nil {
		_ = g.leader.Resign(context.Background())
	}
	if g.next != nil {
		g.next.Kill()
	}
	g.play.Wait()
	var wg sync.WaitGroup
	for _, c := range g.clients {
		wg.Go(c.Close)
	}
	wg.Wait()
}
