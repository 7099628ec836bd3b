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
	"github.com/multilock/multilock-go/testservers/proxy"
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
	var attempts, batches, resigns, reads int
	for dest, like := range map[*int]string{&attempts: "%term.acquired_at%", &batches: "%w.acquired_at%", &resigns: "%pg_notify%", &reads: "SELECT l.group_name%"} {
		must(t, conn.QueryRow(t.Context(), "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements WHERE query LIKE $1", like).Scan(dest))
	}
	attempts += batches
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
	if attempts < rounds || attempts > 21*rounds {
		t.Errorf("%d attempts in %d handovers among 20", attempts, rounds)
	}
}

// A handover waits for no new connection, neither that of a leader that has sent
// nothing but heartbeats for long, nor that of a follower that only listens.
func TestHandoverConnectsNothing(t *testing.T) {
	t.Parallel()
	o := options(t)
	direct := o.ConnString
	p := proxy.Start(t, hostOf(t, direct))
	o.ConnString = at(o.ConnString, p.Addr())
	run := fmt.Sprintf("%d", time.Now().UnixNano())
	candidate := func(name string, heartbeat time.Duration) (*multilock.Backend, *multilock.Elector) {
		o := o
		o.ConnString = with(o.ConnString, "application_name", name+run)
		b, err := postgres.Open(t.Context(), o)
		must(t, err)
		t.Cleanup(func() { _ = b.Close(context.Background()) })
		e, err := multilock.New(b, multilock.Options{Group: "g", HeartbeatTimeout: 60 * time.Second, HeartbeatInterval: heartbeat})
		must(t, err)
		must(t, e.Start(t.Context()))
		eventually(t, "it listens", func() bool { return b.Stats().Watched == 1 })
		return b, e
	}
	ours, leader := candidate("leader ", 200*time.Millisecond)
	eventually(t, "heartbeats", func() bool { return leader.IsLeader() && ours.Stats().RenewedTerms > 1 })
	theirs, follower := candidate("follower ", 15*time.Second)
	// It may have missed something before it listened, and asks once more.
	eventually(t, "it has asked twice", func() bool { return theirs.Stats().Acquires > 1 })

	before := p.Accepted()
	if before != 5 { // calls, renewals, LISTEN; calls, LISTEN
		t.Errorf("%d connections of a leader and a follower, want 5", before)
	}
	// What the leader campaigned on goes in minutes without use. Here it goes now.
	sql(t, direct, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE '%acquired_at%'", "leader "+run)
	w := newWorld(t)
	eventually(t, "a connection is gone", func() bool { return sessions(t, w, "application_name = $1", "leader "+run) == 2 })
	must(t, leader.Stop(t.Context()))
	eventually(t, "the follower leads", follower.IsLeader)
	if n := p.Accepted() - before; n != 0 {
		t.Errorf("%d connections were made for a handover", n)
	}
}
