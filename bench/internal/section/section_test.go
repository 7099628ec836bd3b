//go:build unix

package section

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/store"
)

// Who fails, or is cut off by an interrupt, has a gap and no further turn.
func TestInTurn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := &Bench{Options: Options{Rounds: 3}, Run: &measure.Run{}, Log: io.Discard}
	rivals := []rival.Rival{{Library: "fails"}, {Library: "whole"}, {Library: "cut off"}, {Library: "has two rounds"}}
	turns := make([]int, len(rivals))
	whole := b.inTurn(ctx, rivals, func(r rival.Rival) string { return r.Library }, func(i int, _ rival.Rival) error {
		turns[i]++
		switch {
		case i == 0 && turns[i] == 2:
			return errors.New("no more")
		case i == 2 && turns[i] == 3:
			cancel()
			return errors.New("what an interrupt leads to")
		}
		return nil
	})
	if !slices.Equal(whole, []bool{false, true, false, false}) || !slices.Equal(turns, []int{2, 3, 3, 2}) {
		t.Errorf("%v in %v turns", whole, turns)
	}
	want := []measure.Gap{{What: "fails", Why: "no more"}, {What: "cut off", Why: "interrupted"}, {What: "has two rounds", Why: "interrupted"}}
	if !slices.Equal(b.Run.Gaps, want) {
		t.Errorf("%+v, want %+v", b.Run.Gaps, want)
	}
}

// A kill counts only if nothing can have been renewed before it.
func TestKillsAreOnTime(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	began := map[string]time.Time{"a": at(100), "b": at(900)}
	led := map[string]time.Time{"a": at(150), "b": at(1000)}
	const ttl = 10 * time.Second
	for _, c := range []struct {
		renews float64
		killed int
		within time.Duration
		ok     bool
	}{
		{0.3, 3000, 100 * time.Millisecond, true}, {0.3, 3100, 100 * time.Millisecond, false}, // from the first attempt of all on
		{0.5, 5000, 100 * time.Millisecond, true}, {0, 2400, 2400 * time.Millisecond, true}, {0, 2500, 2500 * time.Millisecond, false},
	} {
		within, ok := known(rival.Rival{Renews: c.renews}, ttl, start, began, led, at(c.killed))
		if within != c.within || ok != c.ok {
			t.Errorf("%+v: within %v, %v", c, within, ok)
		}
	}
}

// What the processes found is told as it is spread, and how many were within the
// budget.
func TestCallsOfSeveralProcesses(t *testing.T) {
	first := callRow("time.Now()", true, []float64{60, 66}, []float64{0, 0}, 0)
	if first.Ours || first.Library != "Go" || len(first.Figures) != 5 {
		t.Errorf("%+v", first)
	}
	r := callRow("IsLeader()", false, []float64{70, 90, 66}, []float64{6, 19, 15}, 1)
	for name, want := range map[string]float64{
		"processes": 3, "median ns": 70, "min ns": 66, "max ns": 90, "allocations": 1,
		"ns above time.Now(): least": 6, "ns above: median": 15, "ns above: most": 19, "processes with at most 15 ns": 2,
	} {
		if got, ok := r.Figure(name); !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if !r.Ours || !slices.Equal(r.Rounds, []float64{6, 19, 15}) {
		t.Errorf("%+v", r)
	}
}

// Every follower and leader is there while requests are counted, and each group
// counts once.
func TestLoadsOfSeveralGroups(t *testing.T) {
	r := &fakeRival{}
	s := &store.Server{Requests: func(context.Context) (float64, error) {
		return float64(r.connected.Load()) * time.Since(r.begin).Seconds(), nil
	}}
	r.begin = time.Now()
	rates, err := loads(t.Context(), r.rival(), rival.Setting{TTL: 100 * time.Millisecond}, 3, 2, s)
	if err != nil || len(rates) != 2 {
		t.Fatalf("%v, %v", rates, err)
	}
	// Ten groups of four candidates make 40 requests a second, so that one makes 4.
	for _, rate := range rates {
		if rate < 2 || rate > 8 { // the clock is read twice, so that it is not exact
			t.Errorf("a group makes %v requests a second, want 4", rate)
		}
	}
	if r.connected.Load() != 40 || r.closed.Load() != 40 {
		t.Errorf("%d clients, of which %d were closed", r.connected.Load(), r.closed.Load())
	}
	r.everybody = true
	if _, err := loads(t.Context(), r.rival(), rival.Setting{TTL: 100 * time.Millisecond}, 3, 1, s); err == nil || !strings.Contains(err.Error(), "a follower leads") {
		t.Errorf("two lead one group: %v", err)
	}
}

// fakeRival is a library whose first candidates lead.
type fakeRival struct {
	begin     time.Time
	everybody bool // leads

	connected, closed atomic.Int64
}

func (f *fakeRival) rival() rival.Rival {
	return rival.Rival{Library: "fake", Connect: func(context.Context, rival.Setting) (rival.Client, error) {
		f.connected.Add(1)
		return fakeClient{f}, nil
	}}
}

type fakeClient struct{ f *fakeRival }

func (c fakeClient) Candidate(_, name string) (rival.Candidate, error) {
	return fakeCandidate{c.f.everybody || name == "candidate-0"}, nil
}

func (c fakeClient) Close() { c.f.closed.Add(1) }

type fakeCandidate struct{ leads bool }

func (c fakeCandidate) Lead(ctx context.Context) error {
	if c.leads {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (fakeCandidate) Resign(context.Context) error { return nil }
