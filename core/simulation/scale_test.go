package simulation

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
)

// usage is what a process uses after a collection.
type usage struct {
	goroutines int
	bytes      uint64 // heap and stacks in use
}

func used() usage {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), m.HeapInuse + m.StackInuse}
}

// TestTenThousandGroups counts what groups cost in one process: followers their
// caller's goroutine and 5 KiB, leaders twice that.
func TestTenThousandGroups(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("measures memory, which the race detector multiplies") // it also runs without
	}
	const groups = 10000
	store := memory.NewStore()
	lead := campaign(t, store, groups, func(e *multilock.Elector) bool { return e.IsLeader() })
	t.Logf("leaders: %.2f goroutines and %d bytes a group", lead.goroutines, lead.bytes)
	if lead.goroutines > 2.01 || lead.bytes > 10<<10 {
		t.Errorf("over the budget of 2 goroutines and 10 KiB")
	}
	follow := campaign(t, store, groups, func(e *multilock.Elector) bool {
		return e.Status().Leader.Token != 0
	})
	t.Logf("followers: %.2f goroutines and %d bytes a group", follow.goroutines, follow.bytes)
	if follow.goroutines > 1.01 || follow.bytes > 5<<10 {
		t.Errorf("over the budget of 1 goroutine and 5 KiB")
	}
}

type perGroup struct {
	goroutines float64
	bytes      uint64
}

// campaign runs an elector for each group on one backend until ready holds for
// all, and returns what each costs. They go on until the test ends.
func campaign(t *testing.T, store *memory.Store, groups int, ready func(*multilock.Elector) bool) perGroup {
	t.Helper()
	b, err := memory.Open(t.Context(), memory.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	electors := make([]*multilock.Elector, groups)
	before := used()
	var done sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for i := range electors {
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
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		n := 0
		for _, e := range electors {
			if ready(e) {
				n++
			}
		}
		if n == groups {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d groups ready after a minute", n, groups)
		}
	}
	after := used()
	runtime.KeepAlive(electors)
	return perGroup{
		goroutines: float64(after.goroutines-before.goroutines) / float64(groups),
		bytes:      (after.bytes - before.bytes) / uint64(groups),
	}
}
