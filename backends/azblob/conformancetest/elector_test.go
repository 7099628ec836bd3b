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

	"github.com/multilock/multilock-go/backends/azblob"
	multilock "github.com/multilock/multilock-go/core"
)

// Ten candidates hand leadership round politely. Nothing has to expire, so the
// shortest lease of 15 s does not slow them down.
func TestHandovers(t *testing.T) {
	f := newFixture(t)
	const candidates, handovers = 10, 200
	poll := 250 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var (
		mu      sync.Mutex
		leading atomic.Int32
		tokens  []uint64
		gaps    []time.Duration // from the end of one work to the begin of the next
		ended   time.Time
		wg      sync.WaitGroup
	)
	for i := range candidates {
		b, err := azblob.Open(ctx, azblob.Options{ConnectionString: f.a.connection, Container: f.container})
		if err != nil {
			t.Fatal(err)
		}
		e, err := multilock.New(b, multilock.Options{Group: "g", ParticipantID: fmt.Sprint("p", i), HeartbeatTimeout: ttl, ElectionInterval: poll})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			err := e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
				if leading.Add(1) > 1 {
					t.Errorf("%v leads beside another", term)
				}
				mu.Lock()
				tokens = append(tokens, term.Token)
				if !ended.IsZero() {
					gaps = append(gaps, time.Since(ended))
				}
				done := len(gaps) >= handovers
				mu.Unlock()
				if done {
					cancel()
				} else if err := e.Resign(ctx); err != nil {
					t.Errorf("Resign: %v", err)
				}
				<-ctx.Done()
				mu.Lock()
				ended = time.Now()
				mu.Unlock()
				leading.Add(-1)
				return nil
			})
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("Run: %v", err)
			}
			stop, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := b.Close(stop); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	wg.Wait()
	if len(gaps) < handovers {
		t.Fatalf("only %d handovers", len(gaps))
	}
	if !slices.IsSorted(tokens) || len(slices.Compact(slices.Clone(tokens))) != len(tokens) {
		t.Error("the tokens do not increase strictly")
	}
	slices.Sort(gaps)
	t.Logf("%d handovers among %d candidates that poll every %v: p50 %v, p99 %v, longest %v", len(gaps), candidates, poll, gaps[len(gaps)/2], gaps[len(gaps)*99/100], gaps[len(gaps)-1])
}

// A leader whose process is gone is replaced within the declared worst case.
func TestTakeover(t *testing.T) {
	f := newFixture(t)
	d, _ := f.open(t)
	b, err := azblob.Open(t.Context(), azblob.Options{ConnectionString: f.a.connection, Container: f.container})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.WithoutCancel(t.Context()))
	e, err := multilock.New(b, multilock.Options{Group: "g", HeartbeatTimeout: ttl})
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, d, brief("g"))
	dead := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := e.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := e.WaitForLeadership(ctx); err != nil {
		t.Fatal(err)
	}
	took := time.Since(dead)
	t.Logf("taken over %v after the last contact; the computed worst case is %v", took, e.WorstCaseFailover())
	if took < ttl-time.Second || took > e.WorstCaseFailover()+15*time.Second {
		t.Errorf("taken over after %v", took)
	}
}
