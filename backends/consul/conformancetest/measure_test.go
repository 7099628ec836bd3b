package conformancetest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/consul"
	multilock "github.com/multilock/multilock-go/core"
)

// TestHandovers: 500 planned handovers among 20 candidates, each with a client
// and session of its own; never two leaders, and tokens that only grow.
func TestHandovers(t *testing.T) {
	s := newSpace(t) // alone, so that the figures mean something
	const candidates, handovers = 20, 500
	var leaders atomic.Int32
	var last atomic.Uint64
	type won struct {
		at  time.Time
		who int
	}
	wins := make(chan won, 1)
	resign := make([]chan struct{}, candidates)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, candidates)
	var backends []*multilock.Backend
	for i := range candidates {
		b, err := consul.Open(ctx, s.options())
		if err != nil {
			t.Fatal(err)
		}
		backends = append(backends, b)
		e, err := multilock.New(b, multilock.Options{Group: "g", ParticipantID: fmt.Sprint(i), HeartbeatTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		resign[i] = make(chan struct{})
		go func() {
			for ctx.Err() == nil {
				err := e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
					if n := leaders.Add(1); n != 1 {
						t.Errorf("%d leaders", n)
					}
					defer leaders.Add(-1)
					if before := last.Swap(term.Token); before >= term.Token {
						t.Errorf("token %d after %d", term.Token, before)
					}
					wins <- won{time.Now(), i}
					select {
					case <-resign[i]:
					case <-ctx.Done():
					}
					return nil
				})
				if err != nil && ctx.Err() == nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	var took []time.Duration
	leader := <-wins
	for range handovers {
		start := time.Now()
		resign[leader.who] <- struct{}{}
		select {
		case leader = <-wins:
			took = append(took, leader.at.Sub(start))
		case <-time.After(patience):
			t.Fatal("nobody took over")
		case err := <-ended:
			t.Fatal(err)
		}
	}
	cancel()
	for range candidates {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	var acquires uint64
	for _, b := range backends {
		acquires += b.Stats().Acquires
		if err := b.Close(limit(t)); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(took)
	t.Logf("%d handovers among %d: p50 %v, p99 %v, max %v; %.1f acquires per handover", handovers, candidates,
		took[len(took)/2], took[len(took)*99/100], took[len(took)-1], float64(acquires)/handovers)
}
