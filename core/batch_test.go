package multilock

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// reading adds batches of reads to a fakeDriver.
type reading struct{ *fakeDriver }

func (d reading) Leaders(ctx context.Context, groups []string, report func(string, driver.Record, error)) {
	d.s.note("leaders")
	for _, g := range groups {
		rec, err := d.Leader(ctx, g)
		report(g, rec, err)
	}
}

// A store that is slow to grant grants many groups one after the other. Each
// attempt has its own time, and its answer does not wait for the others': once,
// ten thousand groups were given up together again and again.
func TestManyFreeGroupsOnASlowStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const groups = 100
		s := newFakeStore()
		s.onAcquire = func(driver.AcquireRequest) error { time.Sleep(time.Second); return nil }
		info := fakeInfo
		info.PushOnResign, info.Calls, info.ReadBatch = false, 1, 500
		b, err := NewBackend(reading{&fakeDriver{s: s, done: make(chan struct{})}}, info)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // or it would never end, if it were as it was
		defer cancel()
		begin := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		led := make(map[time.Duration]int) // after how long how many
		for i := range groups {
			e := newElector(t, b, Options{Group: fmt.Sprintf("g%d", i)})
			wg.Go(func() {
				err := e.Run(ctx, func(context.Context, Term) error {
					mu.Lock()
					led[time.Since(begin)]++
					mu.Unlock()
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(begin); took != groups*time.Second {
			t.Errorf("all led after %v", took)
		}
		for d, n := range led {
			if n != 1 {
				t.Errorf("%d groups led after %v: answers waited for each other", n, d)
			}
		}
		if st := b.Stats(); st.Abandoned != 0 || st.Acquires != groups {
			t.Errorf("%d attempts, %d of them given up", st.Acquires, st.Abandoned)
		}
		if s.count("leaders") == 0 {
			t.Error("nothing was read in a batch: the test shows nothing")
		}
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}
