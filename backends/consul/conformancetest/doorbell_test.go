package conformancetest

import (
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/consul"
)

// doorbells are how many there are.
func (s *space) doorbells() int {
	s.t.Helper()
	bells, _, err := s.admin.KV().List(s.key(".bell/"), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return len(bells)
}

// TestDoorbellIsRungForListeners: a resignation rings no doorbell before somebody
// listens, and from then on always, whether or not the one who resigns knew. What
// somebody deletes is hung again.
func TestDoorbellIsRungForListeners(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	const ttl = 30 * time.Second
	a, count := s.counted()
	resign := func(transactions int) {
		t.Helper()
		term := win(t, a, request("g", ttl))
		before := count.kinds()
		if err := a.Resign(limit(t), term); err != nil {
			t.Fatal(err)
		}
		same(t, "resignation", count.since(before), map[string]int{"PUT txn": transactions})
	}
	resign(1)
	if n := s.doorbells(); n != 0 {
		t.Fatalf("%d doorbells, though nobody listens", n)
	}
	// No sweep will come to the rescue of the doorbell.
	b := s.open(func(o *consul.Options) { o.MaxWatches, o.SweepInterval = -1, 10*time.Minute })
	k, sub := watch(t, b)
	term := win(t, a, request("g", ttl))
	if err := sub.Add(limit(t), "g"); err != nil {
		t.Fatal(err)
	}
	if n := s.doorbells(); n != 1 {
		t.Fatalf("%d doorbells, want one as soon as somebody listens", n)
	}
	if err := a.Resign(limit(t), term); err != nil {
		t.Fatal(err)
	}
	eventually(t, "woken", func() bool { return k.woken("g") > 0 })
	resign(1) // it knows now

	if _, err := s.admin.KV().DeleteTree(s.key(".bell/"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the doorbell is hung again", func() bool { return s.doorbells() == 1 })
	for name, d := range map[string]func() int{
		"by one who knew of it": func() int {
			wakes := k.woken("g")
			resign(1)
			return wakes
		},
		"by one who did not": func() int {
			c := s.open()
			term := win(t, c, request("g", ttl))
			wakes := k.woken("g")
			if err := c.Resign(limit(t), term); err != nil {
				t.Fatal(err)
			}
			return wakes
		},
	} {
		wakes := d()
		eventually(t, "woken "+name, func() bool { return k.woken("g") > wakes })
	}
}
