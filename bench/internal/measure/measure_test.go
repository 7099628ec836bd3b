package measure

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[99-i] = float64(i + 1) // 100 down to 1
	}
	for _, c := range []struct {
		values  []float64
		q, want float64
	}{
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
		{[]float64{3}, 0.99, 3}, {[]float64{2, 1}, 0.5, 1}, {[]float64{3, 1, 2}, 0.5, 2},
	} {
		if got := Quantile(c.values, c.q); got != c.want {
			t.Errorf("quantile %v of %d values is %v, want %v", c.q, len(c.values), got, c.want)
		}
	}
	if hundred[0] != 100 {
		t.Error("Quantile has sorted the caller's values")
	}
	if !math.IsNaN(Quantile(nil, 0.5)) {
		t.Error("a quantile of nothing is a number")
	}
}

func TestRatios(t *testing.T) {
	ours, theirs := []float64{1, 2, 4}, []float64{2, 2, 2}
	if got := Ratios(ours, theirs, false); !slices.Equal(got, []float64{2, 1, 0.5}) {
		t.Errorf("less is better: %v", got)
	}
	if got := Ratios(ours, theirs, true); !slices.Equal(got, []float64{0.5, 1, 2}) {
		t.Errorf("more is better: %v", got)
	}
	if got := Ratios([]float64{1, 0, math.NaN()}, []float64{1, 1, 1}, false); !slices.Equal(got, []float64{1}) {
		t.Errorf("rounds without a measurement count: %v", got)
	}
	if got := Ratios([]float64{1, 1}, []float64{3}, false); !slices.Equal(got, []float64{3}) {
		t.Errorf("a round that one lacks counts: %v", got)
	}
}

func TestRowsAreComparedWithOursInTheSameCase(t *testing.T) {
	rows := []Row{
		{Section: "s", Store: "Redis", Case: "2", Library: "MultiLock", Ours: true, Rounds: []float64{1, 1, 2}},
		{Section: "s", Store: "Redis", Case: "50", Library: "MultiLock", Ours: true, Rounds: []float64{100, 100, 100}},
		{Section: "s", Store: "Redis", Case: "2", Library: "other", Rounds: []float64{3, 4, 1}},
		{Section: "s", Store: "etcd", Case: "2", Library: "lonely", Rounds: []float64{3}},
	}
	if got, ok := rows[2].Ratio(rows); !ok || got != (Spread{0.5, 3, 4}) {
		t.Errorf("ratio %v, %v", got, ok)
	}
	for _, i := range []int{0, 3} {
		if got, ok := rows[i].Ratio(rows); ok {
			t.Errorf("%s has the ratio %v", rows[i].Library, got)
		}
	}
}

func TestMillis(t *testing.T) {
	if got := Millis([]time.Duration{1500 * time.Microsecond}); !slices.Equal(got, []float64{1.5}) {
		t.Error(got)
	}
}
