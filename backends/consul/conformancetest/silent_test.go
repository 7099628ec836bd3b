package conformancetest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/core/driver"
)

// silent is an agent whose long polls are never answered, as over a connection of
// which one end is gone; all else is.
func silent(t *testing.T, addr string) string {
	t.Helper()
	transport := &http.Transport{}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: addr}) },
		Transport: transport,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("index") {
			select {
			case <-r.Context().Done():
			case <-t.Context().Done():
			}
			return
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		transport.CloseIdleConnections()
	})
	return srv.URL
}

// TestKeyDeletedBehindASilentPoll: why a heartbeat confirms the key, though the
// leader has a long poll on it. An operator deletes the key while the poll is not
// answered any more, and another leads. The next heartbeat tells the leader. Consul's
// own Lock, which has the poll alone, goes on with both: its session is alive.
func TestKeyDeletedBehindASilentPoll(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	const ttl = 10 * time.Second
	address := silent(t, s.addr)

	d := s.open(func(o *consul.Options) { o.Address = address })
	_, sub := watch(t, d)
	term := win(t, d, request("g", ttl))
	if err := sub.Add(limit(t), "g"); err != nil {
		t.Fatal(err)
	}
	client, err := api.NewClient(&api.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	session, _, err := client.Session().Create(&api.SessionEntry{TTL: ttl.String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.admin.Session().Destroy(session, nil) })
	lock, err := client.LockOpts(&api.LockOptions{Key: s.key("lock"), Session: session})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := lock.Lock(nil)
	if err != nil || lost == nil {
		t.Fatal(err)
	}

	for _, key := range []string{"g", "lock"} {
		if _, err := s.admin.KV().Delete(s.key(key), nil); err != nil {
			t.Fatal(err)
		}
	}
	win(t, s.open(), request("g", ttl))
	second, err := s.admin.LockOpts(&api.LockOptions{Key: s.key("lock")})
	if err != nil {
		t.Fatal(err)
	}
	if stolen, err := second.Lock(nil); err != nil || stolen == nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Unlock() })

	if res := renew(t, d, ttl, term); !errors.Is(res[0].Err, driver.ErrLost) {
		t.Errorf("the heartbeat of a term whose key is another's: %v, want ErrLost", res[0].Err)
	}
	if e, _, err := client.Session().Renew(session, nil); err != nil || e == nil {
		t.Fatalf("the lock's session: %v", err)
	}
	select {
	case <-lost:
		t.Error("Consul's Lock has noticed: the confirmation of each heartbeat is not needed for this")
	case <-time.After(2 * time.Second):
	}
}
