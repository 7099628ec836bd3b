package simulation

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
)

// usage is what a process uses after a collection.
type usage struct {
	goroutines int
	bytes      uint64 // live heap and stacks in use
}

func used() usage {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), m.HeapAlloc + m.StackInuse}
}

// TestTenThousandGroups counts what groups cost in one process: followers their
// caller's goroutine and 5 KiB, leaders twice that.
func TestTenThousandGroups(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("measures memory, which the race detector multiplies") // it also runs without
	}
	const groups = 10000
	store := memory.NewStore()
	lead := campaign(t, store, groups, perGroup{2.01, 10 << 10}, func(e *multilock.Elector) bool { return e.IsLeader() })
	t.Logf("leaders: %.2f goroutines and %d bytes a group", lead.goroutines, lead.bytes)
	follow := campaign(t, store, groups, perGroup{1.01, 5 << 10}, func(e *multilock.Elector) bool {
		return e.Status().Leader.Token != 0
	})
	t.Logf("followers: %.2f goroutines and %d bytes a group", follow.goroutines, follow.bytes)
}

type perGroup struct {
	goroutines float64
	bytes      int64
}

func (p perGroup) within(budget perGroup) bool {
	return p.goroutines <= budget.goroutines && p.bytes <= budget.bytes
}

// campaign runs an elector for each group on one backend until ready holds for
// all, and returns what each costs, which must come down to the budget: several
// collections pass until stacks that were grown or left are given back, and others
// may just be renewing. They go on until the test ends.
func campaign(t *testing.T, store *memory.Store, groups int, budget perGroup, ready func(*multilock.Elector) bool) perGroup {
	t.Helper()
	b, err := memory.Open(t.Context(), memory.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	electors := make([]*multilock.Elector, groups)
	before := used()
	var done sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	settled := func(some []*multilock.Elector) {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			if !slices.ContainsFunc(some, func(e *multilock.Elector) bool { return !ready(e) }) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("not all groups ready after a minute")
			}
		}
	}
	for i := range electors {
		// One wave after the other: the runtime keeps its records of goroutines that
		// have ended, and ten thousand first attempts at once would leave as many.
		const wave = 250
		if i%wave == 0 {
			settled(electors[max(0, i-wave):i])
		}
		e, err := multilock.New(b, multilock.Options{Group: fmt.Sprintf("group-%d", i), HeartbeatTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		electors[i] = e
		done.Go(func() {
			_ = e.Run(ctx, func(ctx context.Context, _ multilock.Term) error {
				<-ctx.Done()
				return nil
			})
		})
	}
	t.Cleanup(func() {
		cancel()
		done.Wait()
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	settled(electors)
	var cost perGroup
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		after := used()
		cost = perGroup{
			goroutines: float64(after.goroutines-before.goroutines) / float64(groups),
			bytes:      (int64(after.bytes) - int64(before.bytes)) / int64(groups), //nolint:gosec // far below 2^63
		}
		if cost.within(budget) {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%+v a group, over the budget of %+v", cost, budget)
			break
		}
	}
	runtime.KeepAlive(electors)
	return cost
}
