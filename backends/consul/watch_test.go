package consul

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

func TestSeen(t *testing.T) {
	held := func(n string) *api.KVPair { return &api.KVPair{Session: "s", Value: record{Nonce: n}.encode()} }
	freeAt := func(index uint64) *api.KVPair { return &api.KVPair{Value: record{}.encode(), ModifyIndex: index} }
	free := freeAt(1)
	for _, c := range []struct {
		name string
		ps   []*api.KVPair
		want []bool
	}{
		{"handover", []*api.KVPair{held("1"), free, held("2"), free}, []bool{false, true, false, true}},
		{"the free moment was missed", []*api.KVPair{held("1"), held("2")}, []bool{false, true}},
		{"a whole term was missed", []*api.KVPair{freeAt(1), freeAt(1), freeAt(2)}, []bool{true, false, true}},
		{"metadata", []*api.KVPair{held("1"), held("1")}, []bool{false, false}},
		{"missing key", []*api.KVPair{nil, nil, held("1"), nil}, []bool{true, false, false, true}},
	} {
		v := &seen{}
		for i, p := range c.ps {
			if got := v.look(p); got != c.want[i] {
				t.Errorf("%s, look %d: %v", c.name, i, got)
			}
		}
	}
}

// wakes counts.
type wakes struct{ n atomic.Int32 }

func (w *wakes) Wake(string) { w.n.Add(1) }

func (w *wakes) WakeAll() {}

func (w *wakes) Lost(string, driver.Nonce) {}

// TestIndexGoesBack: after a restore the index is smaller. A blocking query with
// the old one would wait for years, so it starts afresh and wakes the group.
func TestIndexGoesBack(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	s := fake(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Query().Get("index"))
		n := len(asked)
		mu.Unlock()
		index := "1000"
		switch {
		case n == 2:
			index = "5"
		case n > 2:
			index = "6"
		}
		if n > 3 {
			select {
			case <-r.Context().Done():
			case <-t.Context().Done():
			}
			return
		}
		w.Header().Set("X-Consul-Index", index)
		_, _ = fmt.Fprint(w, `[{"Key":"k","Session":"other","ModifyIndex":1}]`)
	})
	k := &wakes{}
	sub, err := s.Watch(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Add(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		mu.Lock()
		got := strings.Join(asked, ",")
		mu.Unlock()
		if got == ",1000,,6" && k.n.Load() > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("asked with index %q, %d wake-ups", got, k.n.Load())
		}
	}
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDoorbell: a ring wakes its group alone if the server has counted one more
// than before; after a gap all groups of the doorbell are read. One that is missing
// is hung.
func TestDoorbell(t *testing.T) {
	var reads, hangs atomic.Int32
	s := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err != nil || strings.Contains(string(b), "check-not-exists") {
			hangs.Add(1)
		} else {
			reads.Add(1)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Results": []any{}})
	})
	k := &wakes{}
	sub := &subscription{s: s, ctx: t.Context(), sink: k}
	sub.shards[0].groups = map[string]*seen{"g": {}, "h": {}}
	f := sub.followBell(t.Context(), 0)
	at := func(index, created, rings uint64, group string) *api.KVPair {
		return &api.KVPair{Value: ring{Group: group}.encode(), ModifyIndex: index, CreateIndex: created, LockIndex: rings}
	}
	for i, c := range []struct {
		p            *api.KVPair
		again        bool
		wakes, reads int32
	}{
		{nil, false, 0, 0},
		{at(10, 10, 1, "g"), false, 1, 0},     // the first ring ever
		{at(10, 10, 1, "g"), false, 0, 0},     // nothing new
		{at(11, 10, 2, "h"), false, 1, 0},     // the next one
		{at(12, 10, 3, "other"), false, 0, 0}, // of a group that is not followed
		{at(15, 10, 5, "g"), false, 1, 1},     // one was missed
		{at(16, 10, 5, "g"), false, 1, 1},     // written to by hand
		{at(18, 18, 0, "g"), false, 1, 1},     // made anew
		{at(20, 20, 1, "g"), false, 1, 1},     // deleted and rung again
		{at(20, 20, 1, "g"), true, 0, 1},      // after a reconnect
		{at(3, 3, 1, "g"), false, 0, 1},       // after a restore
		{nil, false, 0, 1},                    // deleted
		{at(21, 21, 1, "g"), false, 1, 0},     // and rung for the first time
		{nil, false, 0, 1},                    //
		{at(24, 23, 2, "g"), false, 1, 1},     // and rung twice
	} {
		k.n.Store(0)
		reads.Store(0)
		hangs.Store(0)
		f(c.p, 0, c.again)
		if k.n.Load() != c.wakes || reads.Load() != c.reads {
			t.Errorf("step %d: %d wake-ups and %d reads, want %d and %d", i, k.n.Load(), reads.Load(), c.wakes, c.reads)
		}
		if missing := c.p == nil; (hangs.Load() == 1) != missing || hangs.Load() > 1 {
			t.Errorf("step %d: missing: %v, hung %d times", i, missing, hangs.Load())
		}
	}
}
