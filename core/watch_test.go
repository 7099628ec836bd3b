package multilock

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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

// startMany starts an elector of b for each of many groups.
func startMany(t *testing.T, b *Backend, groups int) {
	t.Helper()
	for i := range groups {
		if err := newElector(t, b, Options{Group: fmt.Sprint("group-", i)}).Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// follow lets leader lead many groups that b follows.
func follow(t *testing.T, leader, b *Backend, groups int) {
	t.Helper()
	startMany(t, leader, groups)
	synctest.Wait()
	startMany(t, b, groups)
}

// Thousands of groups of a process that starts, on a store that is far away: they
// are not added one after the other, and no group twice at a time.
func TestManyGroupsAreAddedAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, leader *Backend) {
		const groups = 160
		startMany(t, leader, groups)
		synctest.Wait() // who leads watches too
		var mu sync.Mutex
		busy, most := map[string]bool{}, 0
		s.set(func() {
			s.onAdd = func(group string) error {
				mu.Lock()
				if busy[group] {
					t.Errorf("%s is added twice at a time", group)
				}
				busy[group] = true
				most = max(most, len(busy))
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				delete(busy, group)
				mu.Unlock()
				return nil
			}
		})
		b := newFake(t, s)
		begin := time.Now()
		startMany(t, b, groups)
		for b.Stats().Watched < groups && time.Since(begin) < groups*time.Second {
			time.Sleep(time.Second)
		}
		if took := time.Since(begin); took > groups/4*time.Second {
			t.Errorf("all are watched after %v, and each took a second", took)
		}
		if most > watchLanes {
			t.Errorf("%d were added at a time", most)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// opener is a driver whose Watch takes a while, and fails as often as it is told.
type opener struct {
	pushing
	calls    atomic.Int32
	failures int32
	sink     driver.Sink
}

func (o *opener) Watch(ctx context.Context, sink driver.Sink) (driver.Subscription, error) {
	n := o.calls.Add(1)
	time.Sleep(5 * time.Second)
	if n <= o.failures {
		return nil, errors.New("not now")
	}
	o.sink = sink
	return o.pushing.Watch(ctx, sink)
}

func newOpener(t *testing.T, s *fakeStore, failures int32) (*opener, *Backend) {
	t.Helper()
	o := &opener{pushing: pushing{&fakeDriver{s: s, done: make(chan struct{})}}, failures: failures}
	b, err := NewBackend(o, fakeInfo)
	if err != nil {
		t.Fatal(err)
	}
	return o, b
}

// However many groups ask for it: one of them opens the subscription, and the next
// one if that has failed.
func TestOneOpensTheSubscription(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, leader *Backend) {
		const groups = 40
		o, b := newOpener(t, s, 2)
		follow(t, leader, b, groups)
		time.Sleep(time.Minute)
		if n := b.Stats().Watched; n != groups {
			t.Errorf("%d of %d groups are watched", n, groups)
		}
		if n := o.calls.Load(); n != 3 {
			t.Errorf("the subscription was opened %d times; the first two failed", n)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A subscription that opens too late is closed again.
func TestSubscriptionAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, leader *Backend) {
		o, b := newOpener(t, s, 0)
		follow(t, leader, b, 40)
		time.Sleep(4500 * time.Millisecond)
		if err := b.Close(t.Context()); err != nil { // waits no longer than a second for what hangs
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if o.calls.Load() != 1 || o.sink == nil {
			t.Fatalf("the subscription was opened %d times", o.calls.Load())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, open := s.sinks[o.sink]; open {
			t.Error("it is still open")
		}
	})
}
