package conformancetest

import (
	"strconv"
	"testing"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
)

// crowd makes n clients watch a group.
func crowd(t *testing.T, n int, o redis.Options, group string) ([]*sink, []driver.Subscription) {
	t.Helper()
	sinks, subs := make([]*sink, n), make([]driver.Subscription, n)
	for i := range sinks {
		sinks[i], subs[i] = watchOn(t, open(t, o))
		if err := subs[i].Add(patience(t), group); err != nil {
			t.Fatal(err)
		}
	}
	return sinks, subs
}

// overhear returns what gives the payloads of the wake-ups in a group, one by one.
func overhear(t *testing.T, o redis.Options, group string) func() string {
	t.Helper()
	c := goredis.NewUniversalClient(&goredis.UniversalOptions{Addrs: o.Addrs})
	subscribe := c.Subscribe
	if len(o.Addrs) > 1 {
		subscribe = c.SSubscribe
	}
	ps := subscribe(patience(t), key(group))
	t.Cleanup(func() {
		_ = ps.Close()
		_ = c.Close()
	})
	if _, err := ps.Receive(patience(t)); err != nil { // the confirmation
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		m, err := ps.ReceiveMessage(patience(t))
		if err != nil {
			t.Fatal(err)
		}
		return m.Payload
	}
}

// Of a crowd only a few are to try at a time, so the wake-up tells how large it is.
func TestWakeUpTellsHowManyHearIt(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]redis.Options{"standalone": at(shared()), "cluster": {Addrs: sharedCluster().Addrs()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const n = 40
			group := newGroup()
			sinks, subs := crowd(t, n, o, group)
			next := overhear(t, o, group)
			leader := open(t, o)
			woken := 0
			// Nothing is known before the first; then the last one counts.
			for _, want := range []string{"", strconv.Itoa(n + 1), strconv.Itoa(n + 1)} {
				resignAnew(t, leader, group)
				woken++
				if got := next(); got != want {
					t.Errorf("wake-up %d says %q, want %q", woken, got, want)
				}
				for _, s := range sinks {
					s.woken(t, group, woken)
				}
			}
			for i, s := range sinks {
				if got := s.count(group); got != woken {
					t.Errorf("follower %d was woken %d times by %d resignations", i, got, woken)
				}
			}
			// A change shows one wake-up later.
			if err := subs[0].Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the number has changed", func() bool {
				resignAnew(t, leader, group)
				return next() == strconv.Itoa(n)
			})
		})
	}
}

// Builds before the number sent nothing, kept nothing, and anybody may publish.
func TestWakeUpsOfOthers(t *testing.T) {
	t.Parallel()
	s := shared()
	group := newGroup()
	sinks, _ := crowd(t, 10, at(s), group)
	next := overhear(t, at(s), group)
	woken := 0
	heard := func(want string) {
		t.Helper()
		woken++
		if got := next(); got != want {
			t.Errorf("wake-up %d says %q, want %q", woken, got, want)
		}
		for _, sink := range sinks {
			sink.woken(t, group, woken)
		}
	}
	leader := open(t, at(s))
	for _, payload := range []string{"", "hello", "-1", "1e99"} {
		s.Do("PUBLISH", key(group), payload)
		heard(payload)
	}
	resignAnew(t, leader, group)
	heard("")
	s.Do("HDEL", key(group), "heard") // an older build's record
	resignAnew(t, leader, group)
	heard("")
	resignAnew(t, leader, group)
	heard("11")
	s.Do("HSET", key(group), "heard", "nonsense")
	resignAnew(t, leader, group)
	heard("nonsense")
	resignAnew(t, leader, group)
	heard("11")
}
