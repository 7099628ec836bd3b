//go:build unix

package section

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
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
