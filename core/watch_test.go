package multilock

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// A store that is slow to promise wake-ups delays nobody who wins.
func TestTheFirstAttemptDoesNotWaitForTheWatch(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		s.set(func() { s.onAdd = func(string) error { time.Sleep(5 * time.Second); return nil } })
		begin := time.Now()
		lead(t, newElector(t, b, Options{}))
		if took := time.Since(begin); took != 0 {
			t.Errorf("led after %v", took)
		}
		if n := b.Stats().Watched; n != 0 {
			t.Errorf("%d groups are watched before the store says so", n)
		}
		time.Sleep(6 * time.Second)
		if n := b.Stats().Watched; n != 1 {
			t.Errorf("%d groups are watched by who leads: a session that is ended would not be heard of", n)
		}
	})
}

// A resignation after the attempt and before the watch is in force is not missed:
// there is another attempt when it is.
func TestAResignationBeforeTheWatchIsInForce(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		leader := newElector(t, b, Options{})
		lead(t, leader)
		other := newFake(t, s)
		defer other.Close(t.Context())
		s.set(func() { s.onAdd = func(string) error { time.Sleep(3 * time.Second); return nil } })
		follower := newElector(t, other, Options{})
		begin := time.Now()
		if err := follower.Start(t.Context()); err != nil { // returns after the first attempt
			t.Fatal(err)
		}
		if follower.IsLeader() {
			t.Fatal("both lead")
		}
		time.Sleep(time.Second)
		if err := leader.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if follower.IsLeader() {
			t.Fatal("it was woken by a watch that is not in force: the test shows nothing")
		}
		if _, err := follower.WaitForLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("led after %v instead of as soon as the watch was in force", took)
		}
		if err := follower.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A second elector of a Backend follows a group whose wake-ups come already: what
// happens between its attempt and its answer reaches it.
func TestAWakeUpDuringTheFirstAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		leader := newElector(t, b, Options{})
		lead(t, leader)
		synctest.Wait()
		s.set(func() {
			s.onAcquireReply = func(r driver.AcquireRequest) error {
				if r.Participant == "second" {
					s.set(func() { s.onAcquireReply = nil })
					return leader.Stop(t.Context()) // after the attempt was refused
				}
				return nil
			}
		})
		second := newElector(t, b, Options{ParticipantID: "second"})
		begin := time.Now()
		lead(t, second)
		if took := time.Since(begin); took > time.Second {
			t.Errorf("led after %v: the wake-up was missed", took)
		}
	})
}
