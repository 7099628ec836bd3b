package multilock

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Where followers poll, the time until a dead leader is replaced is computed from
// the interval, so no poll may come later than that.
func TestPollsComeWithinTheInterval(t *testing.T) {
	for _, election := range []time.Duration{10 * time.Second, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s := newFakeStore()
			b, err := NewBackend(&fakeDriver{s: s, done: make(chan struct{})}, driver.Info{Name: "polled", PollDivisor: 4})
			if err != nil {
				t.Fatal(err)
			}
			_, err = (&fakeDriver{s: s}).Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "holder", Nonce: driver.NewNonce(), TTL: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			var tries []time.Time
			s.set(func() {
				s.onAcquire = func(driver.AcquireRequest) error {
					tries = append(tries, time.Now())
					return nil
				}
			})
			e := newElector(t, b, Options{HeartbeatTimeout: 20 * time.Second, ElectionInterval: election})
			if err := e.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Minute)
			if err := b.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
			interval, differ := min(election, 5*time.Second), false
			for i := 1; i < len(tries); i++ {
				gap := tries[i].Sub(tries[i-1])
				if gap > interval || gap < interval*8/10 {
					t.Errorf("poll %d came after %v, with an interval of %v", i, gap, interval)
				}
				differ = differ || gap != tries[1].Sub(tries[0])
			}
			if len(tries) < 200 || !differ {
				t.Errorf("%d polls; all after the same time: %t", len(tries), !differ)
			}
		})
	}
}
