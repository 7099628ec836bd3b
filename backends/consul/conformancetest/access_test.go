package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/backends/consul"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
	server "github.com/multilock/multilock-go/testservers/consul"
	"github.com/multilock/multilock-go/testservers/proc"
)

const (
	management = "0b1f6c1e-7c1f-4a53-9f50-5a2f10b9a001"
	unknown    = "0b1f6c1e-7c1f-4a53-9f50-5a2f10b9affe"
)

// TestACL: a token that lacks a permission is a misconfiguration, the documented
// permissions suffice, and no error shows a token.
func TestACL(t *testing.T) {
	t.Parallel()
	srv := ownServer(t, server.Options{ACLToken: management, SessionTTLMin: time.Second})
	admin, err := api.NewClient(&api.Config{Address: srv.Addr, Token: management, HttpClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	if err != nil {
		t.Fatal(err)
	}
	token := func(rules string) string {
		policy, _, err := admin.ACL().PolicyCreate(&api.ACLPolicy{Name: fmt.Sprintf("p%d", spaces.Add(1)), Rules: rules}, nil)
		if err != nil {
			t.Fatal(err)
		}
		tok, _, err := admin.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return tok.SecretID
	}
	const keys = `key_prefix "leader-election/" { policy = "write" } `
	const session = `session_prefix "" { policy = "write" } `
	for _, c := range []struct {
		name, token string
		ok          bool
	}{
		{"no token", "", false},
		{"unknown token", unknown, false},
		{"read only", token(`key_prefix "" { policy = "read" } ` + session), false},
		{"no session", token(keys), false},
		{"other keys", token(`key_prefix "other/" { policy = "write" } ` + session), false},
		{"as documented", token(keys + session), true},
		{"management", management, true},
	} {
		d := open(t, consul.Options{Address: "http://" + srv.Addr, Token: c.token, MinSessionTTL: time.Second})
		var errs []error
		req := request("g", 10*time.Second)
		_, err := d.Acquire(limit(t), req)
		errs = append(errs, err)
		if c.ok {
			term := driver.Term{Group: "g", Nonce: req.Nonce}
			errs = append(errs, renew(t, d, req.TTL, term)[0].Err, d.(driver.Pinger).Ping(limit(t)), d.Resign(limit(t), term))
			if err := errors.Join(errs...); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !errors.Is(err, driver.ErrMisconfigured) {
			t.Errorf("%s: Acquire: %v", c.name, err)
		}
		_, err = d.Leader(limit(t), "g")
		errs = append(errs, err, d.(driver.Pinger).Ping(limit(t)), d.Resign(limit(t), driver.Term{Group: "g", Nonce: req.Nonce}))
		d.(driver.BatchReader).Leaders(limit(t), []string{"g", "h"}, func(_ string, _ driver.Record, err error) { errs = append(errs, err) })
		for _, err := range errs {
			text := fmt.Sprint(err)
			if strings.Contains(text, unknown) || c.token != "" && strings.Contains(text, c.token) {
				t.Errorf("%s: the error shows the token: %v", c.name, err)
			}
			if errors.Is(err, driver.ErrNoLeader) && c.name != "read only" && c.name != "no session" {
				t.Errorf("%s: what may not be read counts as free", c.name)
			}
		}
	}
	// The backend says it too.
	b, err := consul.Open(t.Context(), consul.Options{Address: "http://" + srv.Addr, Token: unknown, MinSessionTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close(t.Context()) }()
	e, err := multilock.New(b, multilock.Options{Group: "g", HeartbeatTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(limit(t)); !errors.Is(err, multilock.ErrMisconfigured) {
		t.Errorf("Start: %v", err)
	}
	if text := fmt.Sprint(b, b.Info(), e.Start(limit(t))); strings.Contains(text, unknown) {
		t.Errorf("the token is shown: %s", text)
	}
}

// TestPermissionTakenAway: what the token may not do any more with one group is
// told for that group, and the others of the session are still confirmed.
func TestPermissionTakenAway(t *testing.T) {
	t.Parallel()
	srv := ownServer(t, server.Options{ACLToken: management, SessionTTLMin: time.Second})
	admin, err := api.NewClient(&api.Config{Address: srv.Addr, Token: management, HttpClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	if err != nil {
		t.Fatal(err)
	}
	const rules = `session_prefix "" { policy = "write" } key_prefix "leader-election/" { policy = "write" } `
	policy, _, err := admin.ACL().PolicyCreate(&api.ACLPolicy{Name: "candidate", Rules: rules}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, _, err := admin.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, consul.Options{Address: "http://" + srv.Addr, Token: token.SecretID, MinSessionTTL: time.Second})
	const ttl = 30 * time.Second
	terms := []driver.Term{win(t, d, request("kept", ttl)), win(t, d, request("gone", ttl)), win(t, d, request("denied", ttl))}
	policy.Rules += `key "leader-election/denied" { policy = "deny" }`
	if _, _, err := admin.ACL().PolicyUpdate(policy, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the permission is gone", func() bool {
		res := renew(t, d, ttl, terms...)
		if res[0].Err != nil || res[1].Err != nil {
			t.Fatalf("of the groups that are still allowed: %+v", res)
		}
		return errors.Is(res[2].Err, driver.ErrMisconfigured)
	})
	if _, err := admin.KV().Delete("leader-election/gone", nil); err != nil {
		t.Fatal(err)
	}
	res := renew(t, d, ttl, terms...)
	if res[0].Err != nil || !errors.Is(res[1].Err, driver.ErrLost) || !errors.Is(res[2].Err, driver.ErrMisconfigured) {
		t.Errorf("kept: %v, removed: %v, denied: %v", res[0].Err, res[1].Err, res[2].Err)
	}
}

// TestMisconfigurationAndOutage are told apart.
func TestMisconfigurationAndOutage(t *testing.T) {
	t.Parallel()
	srv := ownServer(t, server.Options{}) // session_ttl_min 10s
	for _, c := range []struct {
		name          string
		change        func(*consul.Options)
		misconfigured bool
	}{
		{"TTL below the server's minimum", func(o *consul.Options) { o.MinSessionTTL = time.Second }, true},
		{"unknown datacenter", func(o *consul.Options) { o.Datacenter = "atlantis" }, true},
		{"namespace without Enterprise", func(o *consul.Options) { o.Namespace = "team" }, true},
		{"https to http", func(o *consul.Options) { o.Address = "https://" + srv.Addr }, true},
		{"a path that is not Consul's", func(o *consul.Options) { o.Address = "http://" + srv.Addr + "/ui" }, true},
		{"nobody listens", func(o *consul.Options) { o.Address = "http://" + proc.Addr(proc.FreePort(t)) }, false},
	} {
		o := consul.Options{Address: "http://" + srv.Addr}
		c.change(&o)
		_, err := open(t, o).Acquire(limit(t), request("g", 5*time.Second))
		var held *driver.HeldError
		if err == nil || errors.As(err, &held) || errors.Is(err, driver.ErrMisconfigured) != c.misconfigured {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestTooManyConnections: what an agent refuses for want of connections is no
// certain answer.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	srv := ownServer(t, server.Options{SessionTTLMin: time.Second, MaxConnsPerClient: 4})
	d := open(t, consul.Options{Address: "http://" + srv.Addr, MinSessionTTL: time.Second})
	var wg sync.WaitGroup
	refused := make([]error, 30)
	for i := range refused {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, refused[i] = d.Acquire(ctx, request(fmt.Sprintf("g%d", i), 20*time.Second))
		})
	}
	wg.Wait()
	n := 0
	for _, err := range refused {
		var held *driver.HeldError
		if errors.As(err, &held) || errors.Is(err, driver.ErrMisconfigured) {
			t.Errorf("%v", err)
		}
		if err != nil {
			n++
		}
	}
	if n == 0 {
		t.Error("the server refused nothing, so nothing was shown")
	}
}

// TestFromClient: the caller's client goes on after Close, and its limits of
// time do not reach us.
func TestFromClient(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	c, err := api.NewClient(&api.Config{Address: s.addr})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := consul.FromClient(c, consul.Options{Address: "http://" + s.addr}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("an address beside a client: %v", err)
	}
	b, err := consul.FromClient(c, consul.Options{KeyPrefix: s.prefix, MinSessionTTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	e, err := multilock.New(b, multilock.Options{Group: "g", HeartbeatTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := e.TryAcquire(limit(t)); !ok || err != nil {
		t.Fatal(ok, err)
	}
	session := s.get("g").Session
	if err := b.Close(limit(t)); err != nil {
		t.Fatal(err)
	}
	if e.IsLeader() {
		t.Error("leads after Close")
	}
	if entry, _, err := c.Session().Info(session, nil); err != nil || entry != nil {
		t.Errorf("after Close: session %v, %v", entry, err)
	}
	if p := s.get("g"); p.Session != "" {
		t.Errorf("the key is still locked")
	}
	win(t, s.open(), request("g", 2*time.Second)) // no lock-delay after an orderly end
}

// TestUnixSocketAddress only needs the address to be understood.
func TestUnixSocketAddress(t *testing.T) {
	t.Parallel()
	d := open(t, consul.Options{Address: "unix:///nonexistent/consul.sock"})
	if err := d.(driver.Pinger).Ping(limit(t)); err == nil || !strings.Contains(err.Error(), "/nonexistent/consul.sock") {
		t.Errorf("%v", err)
	}
}
