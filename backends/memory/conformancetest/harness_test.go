package conformancetest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
)

// newHarness is a fresh store, with every power that a store without a network
// and without processes can have.
func newHarness(tb conformance.TB) conformance.Harness {
	store := memory.NewStore()
	var requests atomic.Int64
	store.Intercept(func(_ context.Context, _ memory.Request, execute func()) error {
		requests.Add(1)
		execute()
		return nil
	})
	open := func(tb conformance.TB) (driver.Driver, driver.Info) {
		d, info, err := memory.NewDriver(memory.Options{Store: store})
		if err != nil {
			tb.Fatalf("open: %v", err)
		}
		return d, info
	}
	return conformance.Harness{
		Name:         "memory",
		TTL:          time.Second,
		NewDriver:    open,
		LockRecord:   func(_ conformance.TB, group string) func() { return store.Lock(group) },
		RemoveRecord: func(_ conformance.TB, group string) { store.Remove(group) },
		SetToken:     func(_ conformance.TB, group string, token uint64) { store.SetToken(group, token) },
		Age:          func(_ conformance.TB, group string, d time.Duration) { store.Age(group, d) },
		LoseData:     func(conformance.TB) { store.Clear() },
		Requests:     requests.Load,
		StepClock:    func(_ conformance.TB, d time.Duration) { store.StepClock(d) },
		Snapshot: func(conformance.TB) func(conformance.TB) {
			restore := store.Snapshot()
			return func(conformance.TB) { restore() }
		},
		ManualClock: func(conformance.TB) (func(time.Duration), time.Duration) {
			var mu sync.Mutex
			now := time.Hour
			store.SetClock(func() time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return now
			})
			return func(d time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				now += d
			}, time.Nanosecond
		},
		Checker: porcupinecheck.Checker{},
		Missing: map[conformance.Power]string{
			conformance.PowerLink:    "there is no network",
			conformance.PowerCorrupt: "records are Go values, which nothing else can overwrite",
			conformance.PowerSession: "there are no sessions",
			conformance.PowerRestart: "the store ends with its process",
			conformance.PowerProcess: "no other process can reach the store",
		},
	}
}
