package redis

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func TestTurns(t *testing.T) {
	for payload, turns := range map[string]int{
		"": 1, "0": 1, "5": 1, "6": 2, "20": 6, "50": 10, "1000000": 10, // of one's own
		"-7": 1, "many": 1, "1e3": 1, "99999999999999999999": 1, // of others
	} {
		seen := make(map[time.Duration]bool)
		for range 1000 {
			seen[turn(payload)] = true
		}
		for i := range turns {
			if d := time.Duration(i) * aTurn; !seen[d] {
				t.Errorf("%q: nobody in a thousand is woken after %v", payload, d)
			}
		}
		if len(seen) != turns {
			t.Errorf("%q: %d turns, want %d", payload, len(seen), turns)
		}
	}
}

type wakes struct{ atomic.Int64 }

func (w *wakes) Wake(string)               { w.Add(1) }
func (w *wakes) WakeAll()                  { w.Add(1) }
func (w *wakes) Lost(string, driver.Nonce) {}

func TestWakeUpsKeptBack(t *testing.T) {
	// A watch that talks to nobody.
	newWatch := func() (*watch, *wakes) {
		d, err := newDriver(Options{Addrs: []string{"127.0.0.1:1"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = d.Close() })
		sink := &wakes{}
		sub, err := d.Watch(t.Context(), sink)
		if err != nil {
			t.Fatal(err)
		}
		w := sub.(*watch)
		w.groups["g"] = &watched{}
		return w, sink
	}
	t.Run("are passed on", func(t *testing.T) {
		w, sink := newWatch()
		for i := range mostTurns {
			w.wake("g", time.Duration(i)*aTurn)
		}
		w.wg.Wait()
		if n := sink.Load(); n != mostTurns {
			t.Errorf("%d wake-ups of %d", n, mostTurns)
		}
	})
	t.Run("end with the subscription", func(t *testing.T) {
		w, sink := newWatch()
		for range 100 {
			w.wake("g", mostTurns*aTurn)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		n := sink.Load()
		time.Sleep(2 * mostTurns * aTurn)
		if sink.Load() != n {
			t.Error("woken after Close")
		}
	})
	t.Run("end with the watch of the group", func(t *testing.T) {
		w, sink := newWatch()
		w.wake("g", time.Second)
		w.mu.Lock()
		w.groups["g"] = &watched{} // removed, and added anew
		w.mu.Unlock()
		w.wg.Wait()
		if n := sink.Load(); n != 0 {
			t.Errorf("woken %d times by what was sent to an earlier watch", n)
		}
	})
}
