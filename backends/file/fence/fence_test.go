package fence

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/file/internal/osfile"
)

func open(t *testing.T, path string) *Guard {
	t.Helper()
	g, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGuard(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	a, b := open(t, path), open(t, path)
	ran := 0
	write := func() error { ran++; return nil }
	if h, err := a.Highest(t.Context()); err != nil || h != 0 {
		t.Fatalf("highest of a new guard: %d, %v", h, err)
	}
	for i, step := range []struct {
		g     *Guard
		token uint64
		stale bool
	}{
		{a, 5, false}, {a, 5, false}, {b, 7, false}, {a, 5, true}, {b, 7, false}, {a, 6, true}, {a, 8, false}, {a, 1 << 63, false}, {b, 9, true},
	} {
		before := ran
		err := step.g.Do(t.Context(), step.token, write)
		if step.stale {
			var stale *StaleError
			if !errors.Is(err, ErrStale) || !errors.As(err, &stale) || stale.Token != step.token || stale.Highest <= step.token || ran != before {
				t.Errorf("step %d: %v, ran %v", i, err, ran != before)
			}
		} else if err != nil || ran != before+1 {
			t.Errorf("step %d: %v, ran %v", i, err, ran != before)
		}
	}
	if h, err := open(t, path).Highest(t.Context()); err != nil || h != 1<<63 {
		t.Errorf("highest %d, %v", h, err)
	}
	boom := errors.New("boom")
	if err := a.Do(t.Context(), 1<<63, func() error { return boom }); err != boom {
		t.Errorf("the error of write: %v", err)
	}
}

// TestCutOffWrite: a crash while the highest token is written leaves the previous
// one, or the new one; nothing is ever read as lower, and never as nothing.
func TestCutOffWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	g := open(t, path)
	nop := func() error { return nil }
	for token := uint64(1); token <= 9; token++ {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Do(t.Context(), token, nop); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for cut := range len(after) {
			if cut%placeStride > placeSize {
				continue
			}
			torn := append([]byte{}, after[:cut]...)
			if cut < len(before) {
				torn = append(torn, before[cut:]...)
			}
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			h, err := g.Highest(t.Context())
			if err != nil || h != token && h != token-1 {
				t.Fatalf("cut at %d while writing %d: %d, %v", cut, token, h, err)
			}
		}
		if err := os.WriteFile(path, after, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"", "somebody else's text, longer than a place"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := g.Do(t.Context(), 100, nop); !errors.Is(err, ErrDamaged) {
			t.Errorf("do over a damaged file: %v", err)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("files left: %v, %v", left, err)
	}
}

func TestContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	g := open(t, path)
	f, err := osfile.Open(path, os.O_RDWR) // as another process inside Do
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := osfile.TryLock(f, true); err != nil || !ok {
		t.Fatal(ok, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := g.Do(ctx, 1, func() error { t.Error("it ran"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("do while another is inside: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Do(t.Context(), 1, func() error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	var inside, runs, high atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		g := open(t, path)
		for j := range 3 {
			wg.Go(func() {
				for k := range 20 {
					token := uint64(10*k + i + j)
					err := g.Do(t.Context(), token, func() error {
						if inside.Add(1) > 1 {
							t.Error("two inside at once")
						}
						if old := high.Swap(int64(token)); old > int64(token) {
							t.Errorf("token %d after %d", token, old)
						}
						runs.Add(1)
						inside.Add(-1)
						return nil
					})
					if err != nil && !errors.Is(err, ErrStale) {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if runs.Load() < 20 {
		t.Errorf("only %d writes were admitted", runs.Load())
	}
}
