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

// newHarness is a store of its own for each rule.
func newHarness(conformance.TB) conformance.Harness {
	s := memory.NewStore()
	var requests atomic.Int64
	s.Intercept(func(_ context.Context, _ memory.Request, execute func()) error {
		requests.Add(1)
		execute()
		return nil
	})
	return conformance.Harness{
		Name: "memory",
		TTL:  time.Second,
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) {
			d, info, err := memory.NewDriver(memory.Options{Store: s})
			if err != nil {
				tb.Fatalf("open: %v", err)
			}
			return d, info
		},
		LockRecord:   func(_ conformance.TB, group string) func() { return s.Lock(group) },
		RemoveRecord: func(_ conformance.TB, group string) { s.Remove(group) },
		SetToken:     func(_ conformance.TB, group string, token uint64) { s.SetToken(group, token) },
		Age:          func(_ conformance.TB, group string, d time.Duration) { s.Age(group, d) },
		StepClock:    newStepClock(s),
		LoseData:     func(conformance.TB) { s.Clear() },
		Snapshot: func(conformance.TB) func(conformance.TB) {
			restore := s.Snapshot()
			return func(conformance.TB) { restore() }
		},
		ManualClock: func(conformance.TB) (func(time.Duration), time.Duration) { return stopClock(s) },
		Requests:    requests.Load,
		Checker:     porcupinecheck.Checker{},
		Missing: map[conformance.Power]string{
			conformance.PowerLink:    "there is no network; lost, late and repeated requests are made by the kit",
			conformance.PowerCorrupt: "records are values of this process, which no other program writes",
			conformance.PowerSession: "a client has no session",
			conformance.PowerRestart: "the store ends with its process",
			conformance.PowerProcess: "the store lives in one process",
		},
	}
}

// newStepClock steps a clock that otherwise runs with this process's.
func newStepClock(s *memory.Store) func(conformance.TB, time.Duration) {
	start := time.Now()
	var mu sync.Mutex
	var step time.Duration
	var set sync.Once
	return func(_ conformance.TB, d time.Duration) {
		set.Do(func() {
			s.SetClock(func() time.Duration {
				mu.Lock()
				defer mu.Unlock()
				return time.Since(start) + step
			})
		})
		mu.Lock()
		defer mu.Unlock()
		step += d
	}
}

// stopClock stops the clock; only advance moves it.
func stopClock(s *memory.Store) (advance func(time.Duration), tick time.Duration) {
	var now atomic.Int64
	s.SetClock(func() time.Duration { return time.Duration(now.Load()) })
	return func(d time.Duration) { now.Add(int64(d)) }, time.Nanosecond
}
