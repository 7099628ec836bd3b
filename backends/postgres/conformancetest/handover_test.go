package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/postgres"
	multilock "github.com/multilock/multilock-go/core"
)

// Five hundred planned handovers in a row among twenty candidates in four
// processes' worth of backends: never two works at a time, tokens in order, and
// what it took, which -v prints.
func TestFiveHundredHandovers(t *testing.T) {
	url, conn := counted(t)

	var working atomic.Int32
	type start struct {
		stop  context.CancelFunc
		token uint64
		at    time.Time
	}
	started := make(chan start, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 4 {
		b, err := postgres.Open(ctx, postgres.Options{ConnString: url})
		must(t, err)
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		for k := range 5 {
			e, err := multilock.New(b, multilock.Options{Group: "g", ParticipantID: fmt.Sprintf("p%d-%d", i, k)})
			must(t, err)
			wg.Go(func() {
				for ctx.Err() == nil { // it takes part again after it was stopped
					run, stop := context.WithCancel(ctx)
					err := e.Run(run, func(ctx context.Context, term multilock.Term) error {
						if n := working.Add(1); n != 1 {
							t.Errorf("%d works at a time", n)
						}
						started <- start{stop, term.Token, time.Now()}
						<-ctx.Done()
						working.Add(-1)
						return nil
					})
					stop()
					if !errors.Is(err, context.Canceled) {
						t.Errorf("Run: %v", err)
					}
				}
			})
		}
	}
	next := func() start {
		select {
		case s := <-started:
			return s
		case <-time.After(time.Minute):
			t.Fatal("nobody leads within a minute")
			return start{}
		}
	}
	leader := next()
	time.Sleep(time.Second) // all have been refused once and listen
	must(t, exec(conn, "SELECT pg_stat_statements_reset()"))
	const rounds = 500
	var took []time.Duration
	for range rounds {
		time.Sleep(10 * time.Millisecond) // the others have been refused and sleep
		begin := time.Now()
		leader.stop()
		successor := next()
		took = append(took, successor.at.Sub(begin))
		if successor.token <= leader.token {
			t.Fatalf("token %d after %d", successor.token, leader.token)
		}
		leader = successor
	}
	var attempts, resigns, reads int
	for dest, like := range map[*int]string{&attempts: "%AS granted%", &resigns: "%pg_notify%", &reads: "SELECT l.group_name%"} {
		must(t, conn.QueryRow(t.Context(), "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements WHERE query LIKE $1", like).Scan(dest))
	}
	cancel()
	wg.Wait()
	slices.Sort(took)
	t.Logf("handover among 20: p50 %v, p90 %v, p99 %v, worst %v", took[rounds/2], took[rounds*9/10], took[rounds*99/100], took[rounds-1])
	t.Logf("statements per handover: %.1f attempts, %.1f resignations, %.1f second looks", float64(attempts)/rounds, float64(resigns)/rounds, float64(reads)/rounds)
	if resigns < rounds || resigns > rounds*11/10 {
		t.Errorf("%d resignations in %d handovers", resigns, rounds)
	}
	// One attempt for each of the 19 that wake up, and one of the leader that was.
	// Those of one process share a statement where they can.
	if attempts > 21*rounds {
		t.Errorf("%d attempts in %d handovers among 20", attempts, rounds)
	}
}
