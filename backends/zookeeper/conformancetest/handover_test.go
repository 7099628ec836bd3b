package conformancetest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/zookeeper"
	multilock "github.com/multilock/multilock-go/core"
)

// Planned handovers among candidates with a client each: the leader stops, and
// starts again as a follower. No two beliefs overlap, and tokens increase.
func TestHandovers(t *testing.T) {
	for _, c := range []struct{ candidates, handovers int }{{2, 200}, {20, 500}} {
		t.Run(fmt.Sprint(c.candidates), func(t *testing.T) { handovers(t, c.candidates, c.handovers) })
	}
}

func handovers(t *testing.T, candidates, count int) {
	w := newWorld(t)
	type beginning struct {
		who  int
		term multilock.Term
		at   time.Time
	}
	began := make(chan beginning, candidates)
	electors := make([]*multilock.Elector, candidates)
	stops := make([]chan struct{}, candidates)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for i := range electors {
		b, err := zookeeper.Open(within(patience), w.options())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close(within(patience)) })
		e, err := multilock.New(b, multilock.Options{Group: "g", ParticipantID: fmt.Sprint("c", i)})
		if err != nil {
			t.Fatal(err)
		}
		electors[i], stops[i] = e, make(chan struct{})
	}
	for i, e := range electors {
		wg.Go(func() {
			for ctx.Err() == nil {
				ctx, stop := context.WithCancel(ctx)
				_ = e.Run(ctx, func(work context.Context, term multilock.Term) error {
					at := time.Now()
					for j, other := range electors {
						if j != i && other.IsLeader() && e.IsLeader() {
							t.Errorf("candidate %d leads beside %d", i, j)
						}
					}
					began <- beginning{i, term, at}
					select {
					case <-stops[i]:
						stop()
					case <-work.Done():
					}
					<-work.Done()
					return nil
				})
				stop()
			}
		})
	}
	defer wg.Wait()
	defer cancel()
	next := func() beginning {
		t.Helper()
		select {
		case b := <-began:
			return b
		case <-time.After(patience):
			t.Fatal("nobody leads")
			panic("unreachable")
		}
	}
	lead := next()
	time.Sleep(ttl / 4) // all others follow
	var took []time.Duration
	for range count {
		if candidates == 2 {
			time.Sleep(20 * time.Millisecond) // the other has become a follower again
		}
		start := time.Now()
		stops[lead.who] <- struct{}{}
		b := next()
		if b.term.Token <= lead.term.Token {
			t.Fatalf("%v after %v", b.term, lead.term)
		}
		took = append(took, b.at.Sub(start))
		lead = b
	}
	slices.Sort(took)
	t.Logf("%d handovers among %d: p50 %v, p99 %v, most %v", count, candidates, took[count/2], took[count*99/100], took[count-1])
	if took[count/2] > patience/10 {
		t.Errorf("a handover takes %v", took[count/2])
	}
}
