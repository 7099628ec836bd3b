package conformancetest

import (
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/consul"
	multilock "github.com/multilock/multilock-go/core"
)

// TestStoppedFollowerLeavesNoTrace: what followed and stopped has written nothing
// but a doorbell that was missing, has had no session, polls no more, and with its
// backend its connections go.
func TestStoppedFollowerLeavesNoTrace(t *testing.T) {
	t.Parallel()
	for name, watches := range map[string]int{"own query": 8, "doorbell": -1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t)
			count := newCounter(t, s.addr)
			link := newLink(t, count.addr)
			const ttl = 10 * time.Second
			leader := s.open()
			term := win(t, leader, request("g", ttl))
			before := s.get("g").ModifyIndex

			o := s.options()
			o.Address, o.MaxWatches = "http://"+link.Addr(), watches
			b, err := consul.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			e, err := multilock.New(b, multilock.Options{Group: "g", HeartbeatTimeout: ttl})
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Start(limit(t)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it follows", func() bool {
				return e.Status().Leader.Nonce == term.Nonce && count.kinds()["poll"] > 0
			})
			count.rest(t)
			if err := e.Stop(limit(t)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "no poll is open", func() bool { return count.open.Load() == 0 })
			asked := count.requests.Load()
			if err := leader.Resign(limit(t), term); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // the time in which nothing may happen: two sweeps
			if n := count.requests.Load() - asked; n != 0 {
				t.Errorf("%d requests of a stopped follower: %v", n, count.kinds())
			}
			if p := s.get("g"); p.Session != "" || p.ModifyIndex <= before {
				t.Errorf("after the resignation: %+v", p)
			}
			if err := b.Close(limit(t)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "no connection is open", func() bool { return len(link.Open()) == 0 })
			for path, n := range count.kinds() {
				if path != "GET kv" && path != "poll" && path != "PUT txn" { // transactions that read, or hang the doorbell
					t.Errorf("%d requests %s", n, path)
				}
			}
			t.Logf("requests of a follower from start to close: %v", count.kinds())
		})
	}
}
