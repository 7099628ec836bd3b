package conformancetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	multilock "github.com/multilock/multilock-go/core"
)

func backend(t *testing.T, o redis.Options) *multilock.Backend {
	t.Helper()
	o.Grace = noGrace
	b, err := redis.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return b
}

// outcome is what a crowd of candidates went through.
type outcome struct {
	gaps     []time.Duration // how long the group was without a leader, sorted
	terms    int
	attempts uint64
}

// handovers lets candidates lead one after the other, as soon as each can, until
// the group has gone over to another one n times.
func handovers(t *testing.T, candidates, n int, open func(i int) *multilock.Backend) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	group := newGroup()
	var mu sync.Mutex
	var o outcome
	var last uint64
	var lastBy string
	var left time.Time
	var leading atomic.Int32
	var all sync.WaitGroup
	backends := make([]*multilock.Backend, candidates)
	for i := range candidates {
		b, name := open(i), fmt.Sprintf("candidate-%d", i)
		backends[i] = b
		all.Go(func() {
			for ctx.Err() == nil {
				e, err := multilock.New(b, multilock.Options{Group: group, ParticipantID: name})
				if err != nil {
					t.Error(err)
					return
				}
				_ = e.Run(ctx, func(_ context.Context, term multilock.Term) error {
					now := time.Now()
					if leading.Add(1) != 1 {
						t.Error("two lead at one time")
					}
					mu.Lock()
					if term.Token <= last {
						t.Errorf("token %d after %d", term.Token, last)
					}
					if lastBy != "" && lastBy != name {
						o.gaps = append(o.gaps, now.Sub(left))
					}
					o.terms++
					last, lastBy = term.Token, name
					enough := len(o.gaps) >= n
					mu.Unlock()
					time.Sleep(2 * time.Millisecond) // in which nobody else may lead
					mu.Lock()
					left = time.Now()
					mu.Unlock()
					leading.Add(-1)
					if enough {
						cancel()
					}
					return nil
				})
			}
		})
	}
	all.Wait()
	for _, b := range backends {
		o.attempts += b.Stats().Acquires
	}
	slices.Sort(o.gaps)
	t.Logf("%d candidates, %d handovers in %d terms: p50 %v, p90 %v, p99 %v, max %v; %.1f attempts a term", candidates, n, o.terms,
		o.gaps[n/2], o.gaps[n*9/10], o.gaps[n*99/100], o.gaps[n-1], float64(o.attempts)/float64(o.terms))
	if o.gaps[n/2] > 5*time.Second {
		t.Errorf("half of the handovers took longer than %v: nobody was woken", o.gaps[n/2])
	}
	// One attempt for each that is woken, one of the leader that was; and a little,
	// since the ones that run late find another message waiting.
	if most := uint64((candidates + 1) * o.terms * 5 / 4); o.attempts > most {
		t.Errorf("%d attempts in %d terms among %d candidates, want at most %d", o.attempts, o.terms, candidates, most)
	}
}

func TestFiveHundredHandovers(t *testing.T) {
	s := shared()
	handovers(t, 20, 500, func(int) *multilock.Backend { return backend(t, at(s)) })
}

func TestFiveHundredHandoversInACluster(t *testing.T) {
	c := sharedCluster()
	handovers(t, 20, 500, func(int) *multilock.Backend { return backend(t, redis.Options{Addrs: c.Addrs()}) })
}

// TestPlannedHandover measures two candidates, without a crowd.
func TestPlannedHandover(t *testing.T) {
	s := shared()
	handovers(t, 2, 500, func(int) *multilock.Backend { return backend(t, at(s)) })
}
