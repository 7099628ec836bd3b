package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

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

// TestConfirmAfterRefusal: a server that refuses one operation of a transaction,
// for want of a permission, has not looked at the others. They are not confirmed
// by the lack of an error.
func TestConfirmAfterRefusal(t *testing.T) {
	a := &agent{}
	a.renew.Store(200)
	var denied atomic.Bool
	s := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if !denied.Load() || strings.HasPrefix(r.URL.Path, "/v1/session") {
			a.serve(w, r)
			return
		}
		if r.URL.Path == "/v1/kv/leader-election/denied" {
			http.Error(w, "Permission denied: lacks permission 'key:read'", http.StatusForbidden)
			return
		}
		if r.URL.Path != "/v1/txn" {
			w.Header().Set("X-Consul-Index", "11")
			w.WriteHeader(http.StatusNotFound) // the key of the other group was deleted
			return
		}
		var ops []struct{ KV struct{ Key string } }
		_ = json.NewDecoder(r.Body).Decode(&ops)
		var refused, missing []map[string]any
		for i, op := range ops {
			switch op.KV.Key {
			case "leader-election/denied":
				refused = append(refused, map[string]any{"OpIndex": i, "What": "Permission denied: lacks permission 'key:read'"})
			case "leader-election/gone":
				missing = append(missing, map[string]any{"OpIndex": i, "What": "key doesn't exist"})
			}
		}
		if len(refused) > 0 {
			missing = refused
		}
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(map[string]any{"Errors": missing})
	})
	var reqs []driver.RenewRequest
	for _, group := range []string{"gone", "denied"} {
		req := request(group)
		g, err := s.Acquire(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		reqs = append(reqs, driver.RenewRequest{Term: driver.Term{Group: group, Nonce: req.Nonce, Token: g.Token}, TTL: req.TTL})
	}
	denied.Store(true)
	got := make([]error, 2)
	s.Renew(t.Context(), reqs, func(r driver.RenewResult) { got[r.Index] = r.Err })
	if !errors.Is(got[0], driver.ErrLost) {
		t.Errorf("a deleted key beside a refused one: %v", got[0])
	}
	if !errors.Is(got[1], driver.ErrMisconfigured) || errors.Is(got[1], driver.ErrLost) {
		t.Errorf("a key that may not be read any more: %v", got[1])
	}
}

// TestNotFoundByAnother: a 404 that is not Consul's, as of a wrong path or of a
// proxy whose agent is away, is no missing key: it neither frees a group nor ends
// a term, and is not asked for without pause.
func TestNotFoundByAnother(t *testing.T) {
	a := &agent{}
	a.renew.Store(200)
	var away atomic.Bool
	var asked atomic.Int32
	s := fake(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case away.Load() && r.URL.Path == "/v1/txn": // the index has moved, so the key is read
			w.WriteHeader(http.StatusConflict)
			_, _ = fmt.Fprint(w, `{"Errors":[{"OpIndex":0,"What":"index"}]}`)
		case away.Load() && strings.HasPrefix(r.URL.Path, "/v1/kv"):
			asked.Add(1)
			http.NotFound(w, r)
		default:
			a.serve(w, r)
		}
	})
	req := request("g")
	g, err := s.Acquire(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	away.Store(true)
	s.Renew(t.Context(), []driver.RenewRequest{{Term: driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}, TTL: req.TTL}}, func(r driver.RenewResult) {
		if r.Err == nil || errors.Is(r.Err, driver.ErrLost) {
			t.Errorf("renewal: %v", r.Err)
		}
	})
	if _, err := s.Acquire(t.Context(), request("h")); !errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("Acquire: %v", err)
	}
	if _, err := s.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("Leader: %v", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("Ping: %v", err)
	}
	k := &wakes{}
	sub, err := s.Watch(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	if err := sub.Add(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	if n := asked.Load(); n < 2 || n > 20 {
		t.Errorf("asked %d times in 300 ms", n)
	}
	if n := k.n.Load(); n > 0 {
		t.Errorf("woken %d times", n)
	}
}

// TestScopeOfRequests: every request names the datacenter, namespace and partition
// of the options and carries the token, and so does every operation of a
// transaction where it must.
func TestScopeOfRequests(t *testing.T) {
	a := &agent{}
	a.renew.Store(200)
	var mu sync.Mutex
	kinds := make(map[string]int)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		kinds[r.URL.Path]++
		q := r.URL.Query()
		if q.Get("dc") != "dc2" || q.Get("ns") != "team" || q.Get("partition") != "part" || r.Header.Get("X-Consul-Token") != "hunter2" {
			t.Errorf("%s %s with token %q", r.Method, r.URL, r.Header.Get("X-Consul-Token"))
		}
		if r.URL.Path == "/v1/txn" {
			body, _ := io.ReadAll(r.Body)
			var ops []struct {
				KV struct{ Namespace, Partition string }
			}
			if err := json.Unmarshal(body, &ops); err != nil {
				t.Error(err)
			}
			for _, op := range ops {
				if op.KV.Namespace != "team" || op.KV.Partition != "part" {
					t.Errorf("an operation outside: %s", body)
				}
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
		}
		a.serve(w, r)
	}))
	t.Cleanup(srv.Close)
	d, _, err := NewDriver(Options{Address: srv.URL, MinSessionTTL: time.Second, Datacenter: "dc2", Namespace: "team", Partition: "part", Token: "hunter2"})
	if err != nil {
		t.Fatal(err)
	}
	req := request("g")
	g, err := d.Acquire(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	term := driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}
	for _, m := range []map[string]string{nil, {"k": "v"}} {
		d.Renew(t.Context(), []driver.RenewRequest{{Term: term, TTL: req.TTL, Metadata: m}}, func(driver.RenewResult) {})
	}
	sub, err := d.(driver.Watcher).Watch(t.Context(), &wakes{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Add(t.Context(), "h"); err != nil {
		t.Fatal(err)
	}
	d.(driver.BatchReader).Leaders(t.Context(), []string{"g"}, func(string, driver.Record, error) {})
	_ = d.(driver.Pinger).Ping(t.Context())
	_ = d.Resign(t.Context(), term)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, kind := range []string{"/v1/session/create", "/v1/session/renew/S", "/v1/session/destroy/S", "/v1/kv/leader-election/g", "/v1/txn"} {
		if kinds[kind] == 0 {
			t.Errorf("no request to %s, only %v", kind, kinds)
		}
	}
}
