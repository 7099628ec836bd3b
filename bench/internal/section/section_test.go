//go:build unix

package section

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

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
