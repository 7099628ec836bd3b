package changes_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/changes"
)

func of[T any](v ...T) iter.Seq[T] { return slices.Values(v) }

func want[T comparable](t *testing.T, name string, seq iter.Seq[T], expect ...T) {
	t.Helper()
	if got := slices.Collect(seq); !slices.Equal(got, expect) {
		t.Errorf("%s = %v, want %v", name, got, expect)
	}
}

func TestLoops(t *testing.T) {
	n := of(1, 2, 2, 3, 3, 3)
	same := func(a, b int) bool { return a == b }
	want(t, "Where", changes.Where(n, func(i int) bool { return i > 1 }), 2, 2, 3, 3, 3)
	want(t, "Select", changes.Select(n, func(i int) string { return string(rune('a' + i)) }), "b", "c", "c", "d", "d", "d")
	want(t, "Take", changes.Take(n, 2), 1, 2)
	want(t, "Take 0", changes.Take(n, 0))
	want(t, "Skip", changes.Skip(n, 4), 3, 3)
	want(t, "DistinctUntilChanged", changes.DistinctUntilChanged(n, same), 1, 2, 3)
	sum := 0
	changes.ForEach(n, func(i int) { sum += i })
	if sum != 14 {
		t.Errorf("ForEach summed %d", sum)
	}
	var bufs [][]int
	for b := range changes.Buffer(n, 4) {
		bufs = append(bufs, b)
	}
	if len(bufs) != 2 || !slices.Equal(bufs[0], []int{1, 2, 2, 3}) || !slices.Equal(bufs[1], []int{3, 3}) {
		t.Errorf("Buffer = %v", bufs)
	}
}

func TestTakeEndsWithoutAFurtherElement(t *testing.T) {
	pulled := 0
	src := func(yield func(int) bool) {
		for i := 1; ; i++ {
			pulled = i
			if !yield(i) {
				return
			}
		}
	}
	want(t, "Take", changes.Take(src, 3), 1, 2, 3)
	if pulled != 3 {
		t.Errorf("pulled %d elements", pulled)
	}
}

func TestForEachErr(t *testing.T) {
	boom := errors.New("boom")
	seen := 0
	err := changes.ForEachErr(t.Context(), of(1, 2, 3), func(_ context.Context, i int) error {
		seen++
		if i == 2 {
			return boom
		}
		return nil
	})
	if err != boom || seen != 2 {
		t.Errorf("err = %v after %d", err, seen)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(boom)
	if err := changes.ForEachErr(ctx, of(1), func(context.Context, int) error { t.Error("called"); return nil }); err != boom {
		t.Errorf("err = %v", err)
	}
}

func TestMistakesPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"negative Take":   func() { changes.Take(of(1), -1) },
		"negative Skip":   func() { changes.Skip(of(1), -1) },
		"zero Buffer":     func() { changes.Buffer(of(1), 0) },
		"zero BufferTime": func() { changes.BufferTime(of(1), 0) },
		"zero Throttle":   func() { changes.Throttle(of(1), 0) },
		"zero Debounce":   func() { changes.Debounce(of(1), 0) },
		"nil Where":       func() { changes.Where(of(1), nil) },
		"nil sequence":    func() { changes.Chan[int](t.Context(), nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			f()
		}()
	}
}

// bursts yields 1 at 0 s, 2 at 1 s, 3 at 2 s, 4 at 10 s, and ends at 20 s.
func bursts(yield func(int) bool) {
	for i, at := range []time.Duration{0, 1, 1, 8} {
		time.Sleep(at * time.Second)
		if !yield(i + 1) {
			return
		}
	}
	time.Sleep(10 * time.Second)
}

func stamped(seq iter.Seq[int]) (out []time.Duration, values []int) {
	begin := time.Now()
	for v := range seq {
		out, values = append(out, time.Since(begin)/time.Second), append(values, v)
	}
	return out, values
}

// Defect C17: the original's Debounce delayed every event and its Buffer flushed
// only when a later event came.
func TestDefectC17TimedHelpers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, v := stamped(changes.Debounce(bursts, 3*time.Second))
		if !slices.Equal(v, []int{3, 4}) || !slices.Equal(at, []time.Duration{5, 13}) {
			t.Errorf("Debounce: %v at %v", v, at)
		}
		at, v = stamped(changes.Throttle(bursts, 2*time.Second))
		if !slices.Equal(v, []int{1, 3, 4}) || !slices.Equal(at, []time.Duration{0, 2, 10}) {
			t.Errorf("Throttle: %v at %v", v, at)
		}
		begin := time.Now()
		var got [][]int
		var when []time.Duration
		for b := range changes.BufferTime(bursts, 5*time.Second) {
			got, when = append(got, b), append(when, time.Since(begin)/time.Second)
		}
		if len(got) != 2 || !slices.Equal(got[0], []int{1, 2, 3}) || !slices.Equal(got[1], []int{4}) || !slices.Equal(when, []time.Duration{5, 15}) {
			t.Errorf("BufferTime: %v at %v", got, when)
		}
	})
}

func TestPanicOfTheSourceReachesTheConsumer(t *testing.T) {
	defer func() {
		if p := recover(); p != "broken" {
			t.Errorf("recovered %v", p)
		}
	}()
	for range changes.Debounce(func(func(int) bool) { panic("broken") }, time.Millisecond) {
	}
	t.Error("no panic")
}

func TestChanEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ch := changes.Chan(ctx, of(1, 2, 3))
	if v := <-ch; v != 1 {
		t.Errorf("got %d", v)
	}
	cancel()
	for range ch { // closed once the goroutine has noticed; at most one element was under way
	}
}

func acquired(token uint64) multilock.Change {
	return multilock.Change{Kind: multilock.Acquired, Term: multilock.Term{Token: token}}
}

func lost(token uint64) multilock.Change {
	return multilock.Change{Kind: multilock.Lost, Term: multilock.Term{Token: token}}
}

func kinds(seq iter.Seq[multilock.Change]) (k []multilock.Kind) {
	for c := range seq {
		k = append(k, c.Kind)
	}
	return k
}

func TestLeadershipHelpers(t *testing.T) {
	changed := multilock.Change{Kind: multilock.Changed}
	if got := kinds(changes.TakeUntilLeader(of(changed, acquired(1), lost(1)))); !slices.Equal(got, []multilock.Kind{multilock.Changed, multilock.Acquired}) {
		t.Errorf("TakeUntilLeader = %v", got)
	}
	same := changes.DistinctUntilChanged(of(acquired(1), acquired(1), lost(1), acquired(2)), changes.SameTransition)
	if got := kinds(same); len(got) != 3 {
		t.Errorf("DistinctUntilChanged = %v", got)
	}
	var log []string
	changes.OnLeadershipTransition(of(changed, acquired(1), lost(1), acquired(2)),
		func(multilock.Change) { log = append(log, "acquired") },
		func(multilock.Change) { log = append(log, "lost") })
	if !slices.Equal(log, []string{"acquired", "lost", "acquired"}) {
		t.Errorf("OnLeadershipTransition = %v", log)
	}
}
