package calls

import (
	"context"
	"errors"
	"testing"
)

func TestMeasure(t *testing.T) {
	got, err := Measure(t.Context(), 3)
	if err != nil || len(got) != len(Names()) {
		t.Fatalf("%d results of %d calls, %v", len(got), len(Names()), err)
	}
	for i, r := range got {
		if r.Name != Names()[i] || r.NS <= 0 {
			t.Errorf("%+v", r)
		}
	}
	if got[0].Above != 0 {
		t.Errorf("time.Now() takes %v ns longer than itself", got[0].Above)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Measure(ctx, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("after an interrupt: %v", err)
	}
}
