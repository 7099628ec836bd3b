package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

func TestRecordRoundTrip(t *testing.T) {
	n := driver.NewNonce()
	want := record{
		Nonce: n.String(), Participant: "p", AcquiredAt: time.Now().UTC().Round(0), TTL: 1500, LockDelay: 1350,
		Metadata: map[string]string{"a": "<b>\x00\"", "": "ä"}, Ended: driver.NewNonce().String(),
	}
	p := &api.KVPair{Value: want.encode(), ModifyIndex: 42, Session: "s"}
	got := decode(p)
	want.Format = recordFormat
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	rec := got.term("g", p)
	if rec.Token != 42 || rec.Nonce != n || rec.TTL != 1500*time.Millisecond || rec.Remaining != driver.RemainingUnknown {
		t.Fatalf("term: %+v", rec)
	}
	got.Token = 41 // written by a later update, which moved the index
	if rec := got.term("g", p); rec.Token != 41 {
		t.Fatalf("token: %d", rec.Token)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(`{"multilock":1,"nonce":"x","token":18446744073709551615}`))
	f.Add([]byte(`{"multilock":2}`))
	f.Add([]byte(`{"multilock":1,"acquired_at":"yesterday"}`))
	f.Add(record{Nonce: driver.NewNonce().String(), Metadata: map[string]string{"a": "b"}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &api.KVPair{Value: b, ModifyIndex: 7, Session: "s"}
		r := decode(p)
		rec := r.term("g", p)
		if r.Format == 0 && (rec.Participant != "" || !rec.Nonce.IsZero() || rec.Token != 0) {
			t.Fatalf("a foreign value is taken for a term: %+v", rec)
		}
		if r.Format != 0 {
			if again := decode(&api.KVPair{Value: r.encode()}); again.Nonce != r.Nonce || again.Ended != r.Ended || again.Token != r.Token {
				t.Fatalf("%+v became %+v", r, again)
			}
		}
		decodeRing(p)
	})
}

func TestLockDelay(t *testing.T) {
	for _, c := range []struct {
		option, ttl, want time.Duration
	}{
		{0, 15 * time.Second, 14 * time.Second},
		{0, time.Second, 900 * time.Millisecond},
		{0, 50 * time.Millisecond, 40 * time.Millisecond},
		{0, 10 * time.Minute, time.Minute},
		{5 * time.Second, 15 * time.Second, 5 * time.Second},
		{-1, 15 * time.Second, time.Millisecond},
	} {
		s := &store{o: Options{LockDelay: c.option}}
		if got := s.lockDelay(c.ttl); got != c.want {
			t.Errorf("option %v, ttl %v: %v, want %v", c.option, c.ttl, got, c.want)
		}
	}
}

func TestInfo(t *testing.T) {
	worst := func(o Options, ttl time.Duration) time.Duration {
		_, i, err := NewDriver(o)
		if err != nil {
			t.Fatal(err)
		}
		return i.WorstCaseExpiry(ttl)
	}
	// two times-to-live, the lock-delay of at most one more, and a sweep
	if got := worst(Options{}, 15*time.Second); got != 55*time.Second {
		t.Errorf("default: %v", got)
	}
	if got := worst(Options{LockDelay: 5 * time.Second, SweepInterval: time.Second}, 15*time.Second); got != 36*time.Second {
		t.Errorf("with a lock-delay of 5 s: %v", got)
	}
	if got := worst(Options{LockDelay: -1, SweepInterval: time.Second}, 15*time.Second); got != 31*time.Second {
		t.Errorf("without lock-delay: %v", got)
	}
	_, i, _ := NewDriver(Options{})
	if i.MinTTL != 10*time.Second || i.MaxTTL != time.Minute {
		t.Errorf("bounds: %v to %v", i.MinTTL, i.MaxTTL)
	}
	_, i, _ = NewDriver(Options{LongTTL: true, MinSessionTTL: time.Second})
	if i.MinTTL != time.Second || i.MaxTTL != 24*time.Hour {
		t.Errorf("bounds: %v to %v", i.MinTTL, i.MaxTTL)
	}
}

func TestOptions(t *testing.T) {
	o, err := ParseURL("consul://10.0.0.1:8500?multilock.key_prefix=a/b&multilock.datacenter=dc2")
	if err != nil || o.Address != "http://10.0.0.1:8500" || o.KeyPrefix != "a/b" || o.Datacenter != "dc2" {
		t.Fatalf("%v, %v", o, err)
	}
	for _, bad := range []string{
		"consul://user:hunter2@h:8500", "consul://h:8500/leader-election", "consul://h:8500#x",
		"consul://h:8500?token=hunter2", "consul://h:8500?multilock.token=hunter2",
		"consul://h:8500?multilock.key_prefix=a//b", "consul://h:8500?multilock.key_prefix=a/../b",
	} {
		_, err := ParseURL(bad)
		if !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes a secret: %v", bad, err)
		}
	}
	if _, err := FromClient(nil, Options{}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("no client: %v", err)
	}
	if _, err := FromClient(&api.Client{}, Options{Token: "hunter2"}); !errors.Is(err, multilock.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a token beside a client: %v", err)
	}
}

func TestKeysAreDistinct(t *testing.T) {
	s := &store{prefix: prefixOf("a/b/")}
	if s.prefix != "a/b/" {
		t.Fatalf("prefix %q", s.prefix)
	}
	seen := make(map[string]bool)
	for n := range bells {
		seen[s.bellKey(n)] = true
	}
	for _, g := range []string{".bell", "bell", ".bell.0", "..bell", "0", "A", "a"} {
		if seen[s.key(g)] {
			t.Errorf("the key of group %s is taken", g)
		}
		seen[s.key(g)] = true
	}
}

func TestSeen(t *testing.T) {
	held := func(n string) *api.KVPair { return &api.KVPair{Session: "s", Value: record{Nonce: n}.encode()} }
	free := &api.KVPair{Value: record{}.encode()}
	for _, c := range []struct {
		name string
		ps   []*api.KVPair
		want []bool
	}{
		{"handover", []*api.KVPair{held("1"), free, held("2"), free}, []bool{false, true, false, true}},
		{"the free moment was missed", []*api.KVPair{held("1"), held("2")}, []bool{false, true}},
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

// fake is a Consul agent that answers as it is told.
func fake(t *testing.T, h http.HandlerFunc) *store {
	t.Helper()
	srv := httptest.NewServer(h)
	d, _, err := NewDriver(Options{Address: srv.URL, MinSessionTTL: time.Second, Token: "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(); srv.Close() })
	return d.(*store)
}

func request(group string) driver.AcquireRequest {
	return driver.AcquireRequest{Group: group, Participant: "p", Nonce: driver.NewNonce(), TTL: 2 * time.Second}
}

func TestCertainAndUncertainAnswers(t *testing.T) {
	for _, c := range []struct {
		status        int
		body          string
		misconfigured bool
	}{
		{429, "Your IP is issuing too many concurrent connections", false},
		{500, "No cluster leader", false},
		{500, "rpc error making call: EOF", false},
		{503, "", false},
		{504, "", false},
		{403, "ACL not found", true},
		{403, "Permission denied: token with AccessorID 'x' lacks permission 'key:read'", true},
		{500, "No path to datacenter", true},
		{400, "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature", true},
	} {
		s := fake(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, c.body, c.status) })
		_, err := s.Acquire(t.Context(), request("g"))
		var held *driver.HeldError
		if err == nil || errors.As(err, &held) || errors.Is(err, driver.ErrLost) {
			t.Errorf("%d %s: Acquire: %v", c.status, c.body, err)
		}
		if errors.Is(err, driver.ErrMisconfigured) != c.misconfigured {
			t.Errorf("%d %s: misconfigured: %v: %v", c.status, c.body, !c.misconfigured, err)
		}
		if _, err := s.Leader(t.Context(), "g"); err == nil || errors.Is(err, driver.ErrNoLeader) {
			t.Errorf("%d %s: Leader: %v", c.status, c.body, err)
		}
		if err := s.Resign(t.Context(), driver.Term{Group: "g", Nonce: driver.NewNonce()}); err == nil || errors.Is(err, driver.ErrLost) {
			t.Errorf("%d %s: Resign: %v", c.status, c.body, err)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("the error quotes the token: %v", err)
		}
	}
}

// agent answers like a server on which session S exists and every key is locked
// by the record of the last lock.
type agent struct {
	renew atomic.Int32 // status
	info  atomic.Bool  // the session exists
}

func (a *agent) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Consul-Index", "10")
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/session/create"):
		_, _ = fmt.Fprint(w, `{"ID":"S"}`)
	case strings.HasPrefix(r.URL.Path, "/v1/session/renew"):
		w.WriteHeader(int(a.renew.Load()))
		_, _ = fmt.Fprint(w, `[{"ID":"S"}]`)
	case strings.HasPrefix(r.URL.Path, "/v1/session/info"):
		if a.info.Load() {
			_, _ = fmt.Fprint(w, `[{"ID":"S"}]`)
		} else {
			_, _ = fmt.Fprint(w, `[]`)
		}
	case strings.HasPrefix(r.URL.Path, "/v1/kv"):
		w.WriteHeader(404)
	case r.URL.Path == "/v1/txn":
		var ops []struct {
			KV struct{ Verb, Key, Session string }
		}
		_ = json.NewDecoder(r.Body).Decode(&ops)
		var results []map[string]any
		for _, op := range ops {
			results = append(results, map[string]any{"KV": map[string]any{"Key": op.KV.Key, "Session": op.KV.Session, "ModifyIndex": 10}})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Results": results})
	}
}

// TestRenewMissingSession checks that only a consistent read decides that a
// session is gone: a server that has just begun to lead may answer 404 for one
// it does not know yet.
func TestRenewMissingSession(t *testing.T) {
	a := &agent{}
	a.renew.Store(200)
	s := fake(t, a.serve)
	req := request("g")
	g, err := s.Acquire(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	term := driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}
	renew := func() (res driver.RenewResult) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s.Renew(ctx, []driver.RenewRequest{{Term: term, TTL: req.TTL}}, func(r driver.RenewResult) { res = r })
		return res
	}
	if res := renew(); res.Err != nil || res.Granted != req.TTL {
		t.Fatalf("%+v", res)
	}
	a.renew.Store(404)
	a.info.Store(true)
	if res := renew(); res.Err == nil || errors.Is(res.Err, driver.ErrLost) {
		t.Fatalf("the session exists: %+v", res)
	}
	a.renew.Store(500)
	a.info.Store(false)
	if res := renew(); res.Err == nil || errors.Is(res.Err, driver.ErrLost) {
		t.Fatalf("the server cannot tell: %+v", res)
	}
	a.renew.Store(404)
	if res := renew(); !errors.Is(res.Err, driver.ErrLost) {
		t.Fatalf("the session does not exist: %+v", res)
	}
}

// wakes counts.
type wakes struct{ n atomic.Int32 }

func (w *wakes) Wake(string)               { w.n.Add(1) }
func (w *wakes) WakeAll()                  {}
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

// TestDoorbell: a ring whose predecessor was seen wakes its group alone; after a
// gap all groups of the doorbell are read.
func TestDoorbell(t *testing.T) {
	var reads atomic.Int32
	s := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		reads.Add(1)
		_ = json.NewEncoder(w).Encode(map[string]any{"Results": []any{}})
	})
	k := &wakes{}
	sub := &subscription{s: s, ctx: t.Context(), sink: k}
	sub.shards[0].groups = map[string]*seen{"g": {}, "h": {}}
	f := sub.followBell(t.Context(), 0)
	at := func(index, created uint64, r ring) *api.KVPair {
		return &api.KVPair{Value: r.encode(), ModifyIndex: index, CreateIndex: created}
	}
	for i, c := range []struct {
		p            *api.KVPair
		again        bool
		wakes, reads int32
	}{
		{nil, false, 0, 0},
		{at(10, 10, ring{Group: "g"}), false, 1, 0},               // the first ring ever
		{at(10, 10, ring{Group: "g"}), false, 0, 0},               // nothing new
		{at(11, 10, ring{Group: "h", Prev: 10}), false, 1, 0},     // the next one
		{at(12, 10, ring{Group: "other", Prev: 11}), false, 0, 0}, // of a group that is not followed
		{at(15, 10, ring{Group: "g", Prev: 13}), false, 1, 1},     // one was missed
		{at(16, 10, ring{Group: "g"}), false, 1, 1},               // it does not know of the one before
		{at(16, 10, ring{Group: "g"}), true, 0, 1},                // after a reconnect
		{at(3, 3, ring{Group: "g"}), false, 0, 1},                 // after a restore
	} {
		k.n.Store(0)
		reads.Store(0)
		f(c.p, c.again)
		if k.n.Load() != c.wakes || reads.Load() != c.reads {
			t.Errorf("step %d: %d wake-ups and %d reads, want %d and %d", i, k.n.Load(), reads.Load(), c.wakes, c.reads)
		}
	}
}

func TestClosed(t *testing.T) {
	a := &agent{}
	s := fake(t, a.serve)
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := s.Acquire(t.Context(), request("g"))
	_, errLeader := s.Leader(t.Context(), "g")
	_, errWatch := s.Watch(t.Context(), nil)
	for i, err := range []error{err, errLeader, errWatch, s.Ping(t.Context()), s.Resign(t.Context(), driver.Term{Group: "g"})} {
		if !errors.Is(err, driver.ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}

func FuzzDecodeRing(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("{}"))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := decodeRing(&api.KVPair{Value: b})
		if again := decodeRing(&api.KVPair{Value: r.encode()}); !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v", r, again)
		}
	})
}
