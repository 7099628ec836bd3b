package conformance

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// sink records what a driver pushes.
type sink struct {
	mu     sync.Mutex
	wakes  map[string]int
	all    int
	lost   map[driver.Nonce]bool
	closed bool
	late   int // calls after the subscription was closed
}

func newSink() *sink { return &sink{wakes: map[string]int{}, lost: map[driver.Nonce]bool{}} }

func (s *sink) Wake(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakes[group]++
	s.note()
}

func (s *sink) WakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all++
	s.note()
}

func (s *sink) Lost(_ string, n driver.Nonce) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[n] = true
	s.note()
}

func (s *sink) note() {
	if s.closed {
		s.late++
	}
}

// count is how often group was woken, by its name or with all others.
func (s *sink) count(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wakes[group] + s.all
}

func (s *sink) saidLost(n driver.Nonce) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost[n]
}

// subscribe starts the client's watch. It ends when the rule ends.
func (c *client) subscribe() (*sink, driver.Subscription) {
	s := newSink()
	ctx, cancel := c.context()
	defer cancel()
	sub, err := c.Driver.(driver.Watcher).Watch(ctx, s)
	if err != nil {
		c.r.Fatalf("Watch: %v", err)
	}
	c.r.Cleanup(func() { _ = sub.Close() })
	return s, sub
}

func (c *client) add(sub driver.Subscription, group string) {
	ctx, cancel := c.context()
	defer cancel()
	if err := sub.Add(ctx, group); err != nil {
		c.r.Fatalf("Subscription.Add(%s): %v", group, err)
	}
}

func needsPush(_ driver.Driver, info driver.Info) string {
	if !info.PushOnResign {
		return "the backend declares no push on resign"
	}
	return ""
}

var wakeRules = []Rule{
	{
		ID:      "WAK-resign",
		Title:   "a resign wakes the followers",
		Promise: "Soon after a Resign every client that watches the group is told.",
		applies: needsPush,
		body: func(r *run) {
			leader, followers := r.client(), r.clients(3)
			group := r.group()
			var sinks []*sink
			for _, f := range followers {
				s, sub := f.subscribe()
				f.add(sub, group)
				sinks = append(sinks, s)
			}
			for range 5 {
				l := leader.win(group, "holder")
				r.pause(r.tick())
				before := make([]int, len(sinks))
				for i, s := range sinks {
					before[i] = s.count(group)
				}
				l.mustResign()
				for i, s := range sinks {
					r.eventually(r.slack(), fmt.Sprintf("follower %d is woken after Resign", i), func() bool { return s.count(group) > before[i] })
				}
			}
		},
	},
	{
		ID:      "WAK-own",
		Title:   "a resign wakes followers of the same client",
		Promise: "A leader and a follower of one group may share a client: soon after the Resign the client's own watch is told.",
		applies: needsPush,
		body: func(r *run) {
			c := r.client()
			s, sub := c.subscribe()
			group := r.group()
			c.add(sub, group)
			for i := range 3 {
				l := c.win(group, "holder")
				r.pause(r.tick())
				before := s.count(group)
				l.mustResign()
				r.eventually(r.slack(), fmt.Sprintf("round %d: the client's own follower is woken after Resign", i), func() bool { return s.count(group) > before })
			}
		},
	},
	{
		ID:       "WAK-expiry",
		Title:    "an expiry wakes the followers where declared",
		Promise:  "Where the backend declares a push on expiry, followers are told of a dead leader within the declared worst case.",
		expiries: 6,
		applies: func(_ driver.Driver, info driver.Info) string {
			if !info.PushOnExpiry {
				return "the backend declares no push on expiry"
			}
			return ""
		},
		body: func(r *run) {
			leader, follower := r.client(), r.client()
			l := leader.win(r.group(), "holder")
			s, sub := follower.subscribe()
			follower.add(sub, l.Group)
			r.pause(r.tick())
			before := s.count(l.Group)
			r.eventually(r.worst(follower.info)+r.slack(), "the follower is woken by the expiry", func() bool { return s.count(l.Group) > before })
			follower.takeover(l.Group, "next", r.slack()+r.worst(follower.info))
		},
	},
	{
		ID:      "WAK-no-gap",
		Title:   "no wake-up is lost between the check and the wait",
		Promise: "A change that happens after Add has returned is never lost, however soon it happens.",
		applies: needsPush,
		body: func(r *run) {
			leader, follower := r.client(), r.client()
			s, sub := follower.subscribe()
			for i := range 25 {
				group := r.group()
				l := leader.win(group, "holder")
				var wg sync.WaitGroup
				follower.add(sub, group)
				before := s.count(group)
				wg.Go(l.mustResignConcurrently)
				follower.leader(group)
				wg.Wait()
				r.eventually(r.slack(), fmt.Sprintf("round %d: the Resign right after Add wakes the follower", i), func() bool { return s.count(group) > before })
				sub.Remove(group)
			}
		},
	},
	{
		ID:      "WAK-again",
		Title:   "a group can be watched again after it was removed",
		Promise: "Remove ends the watch of one group without disturbing others, and Add brings it back.",
		applies: needsPush,
		body: func(r *run) {
			leader, follower := r.client(), r.client()
			s, sub := follower.subscribe()
			stay, come := r.group(), r.group()
			follower.add(sub, stay)
			for i := range 4 {
				follower.add(sub, come)
				for _, group := range []string{come, stay} {
					l := leader.win(group, "holder")
					before := s.count(group)
					l.mustResign()
					r.eventually(r.slack(), fmt.Sprintf("round %d: the Resign wakes the follower of %s", i, group), func() bool { return s.count(group) > before })
				}
				sub.Remove(come)
			}
		},
	},
	{
		ID:      "WAK-many",
		Title:   "many groups on one subscription",
		Promise: "One subscription watches many groups; the Resign of any of them wakes its follower, and no live term is called lost.",
		applies: needsPush,
		body: func(r *run) {
			leader, follower := r.client(), r.client()
			s, sub := follower.subscribe()
			var leases []*lease
			for range 30 {
				group := r.group()
				follower.add(sub, group)
				leases = append(leases, leader.win(group, "holder"))
			}
			stop := r.keep(leases...)
			stop()
			leader.renewBatch(leases...)
			for _, l := range leases {
				before := s.count(l.Group)
				if err := leader.resign(l.Term); errors.Is(err, driver.ErrLost) && time.Now().After(l.goodUntil()) {
					continue // this machine was too slow
				} else if err != nil {
					r.Errorf("Resign of %v: %v", l.Term, err)
				}
				r.eventually(r.slack(), "the Resign wakes the follower of "+l.Group, func() bool { return s.count(l.Group) > before })
			}
		},
	},
	{
		ID:       "WAK-quiet",
		Title:    "a live term is never called lost",
		Promise:  "Lost is said only of terms that are certainly over, never of one that is renewed.",
		expiries: 4,
		applies:  needsPush,
		body: func(r *run) {
			c, other := r.client(), r.client()
			s, sub := c.subscribe()
			l := c.win(r.group(), "holder")
			c.add(sub, l.Group)
			stop := r.keep(l)
			o := other.win(r.group(), "other")
			o.mustResign()
			r.pause(r.h.TTL * 3 / 2)
			stop()
			if s.saidLost(l.Nonce) {
				r.Errorf("the watcher said that the live term %v is lost", l.Term)
			}
			l.mustLead("after 1.5 TTLs of renewals")
		},
	},
	{
		ID:      "WAK-cut",
		Title:   "a watch works again after its connection broke",
		Promise: "After every reconnect all followers of the client are woken, since pushes may have been missed, and later resigns wake them as before.",
		Needs:   []Power{PowerLink},
		applies: needsPush,
		body: func(r *run) {
			leader, follower := r.client(), r.linked()
			group := r.group()
			s, sub := follower.subscribe()
			follower.add(sub, group)
			for _, how := range []string{"cut", "reset", "cut again"} {
				l := leader.win(group, "holder")
				r.pause(10 * r.tick()) // wake-ups of this acquire, if any, are over
				before := s.count(group)
				if how == "reset" {
					follower.link.Reset()
					l.mustResign()
				} else {
					follower.link.Cut()
					l.mustResign()
					r.pause(r.h.TTL / 4)
					follower.link.Restore()
				}
				r.eventually(30*time.Second+r.slack(), how+": the follower is woken after the reconnect", func() bool { return s.count(group) > before })
			}
			// The watch itself is alive again, not only the reconnect's wake-up.
			r.eventually(30*time.Second, "a Resign after the reconnects wakes the follower", func() bool {
				before := s.count(group)
				l := leader.win(group, "holder")
				r.pause(4 * r.tick())
				l.mustResign()
				r.pause(r.slack() / 2)
				return s.count(group) > before
			})
		},
	},
	{
		ID:      "WAK-close",
		Title:   "a closed subscription is silent",
		Promise: "When Subscription.Close has returned no Sink method runs any more; closing twice is harmless, and Driver.Close implies it.",
		applies: needsPush,
		body: func(r *run) {
			leader := r.client()
			for _, viaDriver := range []bool{false, true} {
				follower := r.client()
				s, sub := follower.subscribe()
				group := r.group()
				follower.add(sub, group)
				var err error
				if viaDriver {
					err = follower.raw.Close()
				} else {
					err = sub.Close()
				}
				if err != nil {
					r.Errorf("Close (by the driver: %v): %v", viaDriver, err)
				}
				s.mu.Lock()
				s.closed = true
				s.mu.Unlock()
				leader.win(group, "holder").mustResign()
				r.pause(10 * r.tick())
				s.mu.Lock()
				if s.late > 0 {
					r.Errorf("%d calls of the Sink after Close (by the driver: %v)", s.late, viaDriver)
				}
				s.mu.Unlock()
				if err := sub.Close(); err != nil && !errors.Is(err, driver.ErrClosed) {
					r.Errorf("the second Close of a subscription: %v", err)
				}
			}
		},
	},
	{
		ID:       "WAK-session",
		Title:    "the end of a session from outside is noticed",
		Promise:  "When a client's session is ended from outside, the driver says Lost of its terms or answers their next renewal with ErrLost; it does not go on as if they lived.",
		Needs:    []Power{PowerSession},
		expiries: 6,
		body: func(r *run) {
			a, b := r.client(), r.client()
			var s *sink
			if _, ok := a.Driver.(driver.Watcher); ok {
				s, _ = a.subscribe()
			}
			l := a.win(r.group(), "holder")
			r.h.EndSession(r, a.raw)
			end := time.Now().Add(r.worst(a.info) + r.slack())
			for {
				if s != nil && s.saidLost(l.Nonce) {
					break
				}
				err := l.renew()
				if errors.Is(err, driver.ErrLost) || errors.Is(err, driver.ErrClosed) {
					break
				}
				if err == nil && b.leader(l.Group) == nil {
					r.Errorf("a renewal succeeded although the session is gone and nobody leads")
					return
				}
				if time.Now().After(end) {
					if err == nil {
						l.mustLead("long after its session was ended") // the driver kept it alive by other means
						return
					}
					break // uncertain: the elector's deadline ends the term
				}
				r.pause(r.tick())
			}
			r.newer(l, b.takeover(l.Group, "next", r.worst(b.info)+r.slack()))
		},
	},
}

// mustResignConcurrently is mustResign for other goroutines, which must not end
// the rule by FailNow.
func (l *lease) mustResignConcurrently() {
	if err := l.c.resign(l.Term); err != nil {
		l.c.r.Errorf("Resign of the live term %v: %v", l.Term, err)
	}
}
