package conformancetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/core/driver"
)

// TestWhatConsulDoes holds the behaviour of the server that the driver is built
// on or around. If a new version differs, this says where.
func TestWhatConsulDoes(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	kv := s.admin.KV()
	session := func(delay time.Duration) string {
		id, _, err := s.admin.Session().CreateNoChecks(&api.SessionEntry{TTL: "60s", LockDelay: delay}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	txn := func(ops ...*api.KVTxnOp) (bool, *api.TxnResponse) {
		all := make(api.TxnOps, len(ops))
		for i, op := range ops {
			all[i] = &api.TxnOp{KV: op}
		}
		ok, resp, _, err := s.admin.Txn().Txn(all, nil)
		if err != nil {
			t.Fatal(err)
		}
		return ok, resp
	}
	a, b := session(time.Minute), session(time.Minute)

	key := s.key("lock")
	lock := func(session, value string) bool {
		ok, _, err := kv.Acquire(&api.KVPair{Key: key, Session: session, Value: []byte(value)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !lock(a, "1") || lock(b, "2") {
		t.Fatal("one session locks, the other does not")
	}
	if !lock(a, "3") || string(s.get("lock").Value) != "3" {
		t.Fatal("a session no longer overwrites its own lock; that was why acquiring is a compare-and-set")
	}
	plain := func() (bool, uint64) {
		var index uint64
		if p := s.get("plain"); p != nil {
			index = p.ModifyIndex
		}
		ok, _ := txn(&api.KVTxnOp{Verb: api.KVCAS, Key: s.key("plain"), Index: index, Value: []byte("1")})
		return ok, s.get("plain").ModifyIndex
	}
	ok1, index1 := plain()
	if ok2, index2 := plain(); !ok1 || !ok2 || index1 != index2 {
		t.Fatal("a write that changes nothing moves the index now; it did not, and a late transaction went through")
	}
	before := s.get("lock").ModifyIndex
	if ok, _ := txn(&api.KVTxnOp{Verb: api.KVCAS, Key: key, Index: before, Value: []byte("4")}); !ok || s.get("lock").ModifyIndex <= before || s.get("lock").Session != a {
		t.Fatal("a write to a locked key must move the index and keep the session")
	}
	if ok, _ := txn(&api.KVTxnOp{Verb: api.KVUnlock, Key: key, Session: b}); ok {
		t.Fatal("another session unlocked the key")
	}
	if ok, _ := txn(&api.KVTxnOp{Verb: api.KVUnlock, Key: key, Session: a}); !ok {
		t.Fatal("the session cannot unlock its key")
	}
	if !lock(b, "5") {
		t.Fatal("a lock-delay applies after an unlock")
	}
	if _, err := s.admin.Session().Destroy(b, nil); err != nil {
		t.Fatal(err)
	}
	if p := s.get("lock"); p.Session != "" || string(p.Value) != "5" {
		t.Fatalf("the end of a session must release the key and keep its value: %+v", p)
	}
	if lock(a, "6") {
		t.Fatal("no lock-delay applies after the end of a session")
	}
	if ok, resp := txn(&api.KVTxnOp{Verb: api.KVLock, Key: key, Session: a}); ok || !strings.Contains(resp.Errors[0].What, "lock delay") {
		t.Fatalf("refused by lock-delay: %v, %v", ok, resp.Errors[0])
	}
	if ok, resp := txn(&api.KVTxnOp{Verb: api.KVLock, Key: s.key("other"), Session: b}); ok || !strings.Contains(resp.Errors[0].What, "invalid session") {
		t.Fatalf("refused without session: %v, %v", ok, resp.Errors[0])
	}
	if ok, resp := txn(&api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: s.key("missing")}); !ok || resp.Results[0].KV.ModifyIndex != 0 {
		t.Fatalf("get-or-empty of a missing key: %v", ok)
	}

	many := make(api.TxnOps, 129)
	for i := range many {
		many[i] = &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVGetOrEmpty, Key: s.key("missing")}}
	}
	if _, _, _, err := s.admin.Txn().Txn(many[:128], nil); err != nil {
		t.Fatalf("128 operations: %v", err)
	}
	if _, _, _, err := s.admin.Txn().Txn(many, nil); err == nil {
		t.Fatal("129 operations are accepted")
	}
	_, _ = s.admin.Session().Destroy(a, nil)
}

// TestManyTerms renews more terms than a transaction has operations, in one
// session, and loses exactly those whose record is gone.
func TestManyTerms(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	d := s.open()
	const ttl = 20 * time.Second
	terms := make([]driver.Term, 300)
	var wg sync.WaitGroup
	gate := make(chan struct{}, 8)
	for i := range terms {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			terms[i] = win(t, d, request(fmt.Sprintf("g%d", i), ttl))
		})
	}
	wg.Wait()
	for i, res := range renew(t, d, ttl, terms...) {
		if res.Err != nil || res.Granted != ttl {
			t.Fatalf("term %d: %+v", i, res)
		}
	}
	sessions := make(map[string]bool)
	gone := map[int]bool{0: true, 127: true, 128: true, 299: true}
	for i := range terms {
		sessions[s.get(terms[i].Group).Session] = true
	}
	for i := range gone {
		if _, err := s.admin.KV().Delete(s.key(terms[i].Group), nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(sessions) != 1 {
		t.Errorf("%d sessions, want 1", len(sessions))
	}
	for i, res := range renew(t, d, ttl, terms...) {
		if errors.Is(res.Err, driver.ErrLost) != gone[i] || !gone[i] && res.Err != nil {
			t.Errorf("term %d: %v", i, res.Err)
		}
	}
}

// TestOperatorDeletesKey: the session lives on, but the term is over, and a watch
// tells before the next renewal does.
func TestOperatorDeletesKey(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	d := s.open()
	const ttl = 10 * time.Second
	k, sub := watch(t, d)
	term, other := win(t, d, request("g", ttl)), win(t, d, request("other", ttl))
	if err := sub.Add(limit(t), "g"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.KV().Delete(s.key("g"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Lost", func() bool { return k.saidLost(term.Nonce) })
	if res := renew(t, d, ttl, term, other); !errors.Is(res[0].Err, driver.ErrLost) || res[1].Err != nil {
		t.Fatalf("%+v", res)
	}
	if next := win(t, d, request("g", ttl)); next.Token <= term.Token {
		t.Fatalf("token %d after %d", next.Token, term.Token)
	}
}

// TestForeignValue: a value that somebody wrote over a live record ends the term.
// The lock is given up no earlier than anybody may still believe.
func TestForeignValue(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	d, b := s.open(), s.open()
	const ttl = 2 * time.Second
	term, other := win(t, d, request("g", ttl)), win(t, d, request("other", ttl))
	defer keep(t, d, ttl, other)()
	believed := time.Now().Add(ttl * 9 / 10)
	if _, err := s.admin.KV().Put(&api.KVPair{Key: s.key("g"), Value: []byte("mine")}, nil); err != nil {
		t.Fatal(err)
	}
	mustHeld(t, b, "g", ttl)
	if res := renew(t, d, ttl, term); !errors.Is(res[0].Err, driver.ErrLost) {
		t.Fatalf("%+v", res)
	}
	win(t, b, request("g", ttl))
	if time.Now().Before(believed) {
		t.Error("the group was given away while the leader might have believed")
	}
}

// TestForeignValueUnnoticed is the same for a term that nobody renews any more.
func TestForeignValueUnnoticed(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	d, b := s.open(), s.open()
	const ttl = 2 * time.Second
	term, other := win(t, d, request("g", ttl)), win(t, d, request("other", ttl))
	defer keep(t, d, ttl, other)()
	if _, err := s.admin.KV().Put(&api.KVPair{Key: s.key("g"), Value: []byte("mine")}, nil); err != nil {
		t.Fatal(err)
	}
	if next := win(t, b, request("g", ttl)); next.Token <= term.Token {
		t.Errorf("token %d after %d", next.Token, term.Token)
	}
}

// TestSessionSettings checks what is asked of the server for a session.
func TestSessionSettings(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	for _, c := range []struct {
		ttl, option, delay time.Duration
	}{
		{15 * time.Second, 0, 15 * time.Second},
		{2 * time.Second, 0, 2 * time.Second},
		{15 * time.Second, 3 * time.Second, 3 * time.Second},
		{15 * time.Second, -1, time.Millisecond},
	} {
		d := s.open(func(o *consul.Options) { o.LockDelay = c.option })
		term := win(t, d, request("g", c.ttl))
		e, _, err := s.admin.Session().Info(s.get("g").Session, nil)
		if err != nil || e == nil {
			t.Fatal(e, err)
		}
		got, _ := time.ParseDuration(e.TTL)
		if got != c.ttl || e.LockDelay != c.delay || e.Behavior != "release" || len(e.NodeChecks) != 0 || len(e.Checks) != 0 {
			t.Errorf("ttl %v, option %v: %+v", c.ttl, c.option, e)
		}
		if err := d.Resign(limit(t), term); err != nil {
			t.Error(err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if e, _, err := s.admin.Session().Info(e.ID, nil); err != nil || e != nil {
			t.Errorf("Close leaves the session behind: %v, %v", e, err)
		}
	}
}

// TestHealthCheckSession: a session may hang on health checks of the node.
func TestHealthCheckSession(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	d := s.open(func(o *consul.Options) { o.NodeChecks = []string{"serfHealth"} })
	win(t, d, request("g", 15*time.Second))
	e, _, err := s.admin.Session().Info(s.get("g").Session, nil)
	if err != nil || e == nil || len(e.NodeChecks) != 1 {
		t.Fatal(e, err)
	}
	d = s.open(func(o *consul.Options) { o.NodeChecks = []string{"no-such-check"} })
	if _, err := d.Acquire(limit(t), request("h", 15*time.Second)); !errors.Is(err, driver.ErrMisconfigured) {
		t.Fatalf("unknown check: %v", err)
	}
}

// TestSessionDestroyed: all terms of the session are told at once, a challenger
// is kept away for the lock-delay without spinning, and is woken at its end.
func TestSessionDestroyed(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	count := newCounter(t, s.addr)
	a, b := s.open(), s.open(func(o *consul.Options) { o.Address = "http://" + count.addr })
	const ttl = 2 * time.Second
	ka, _ := watch(t, a)
	kb, subB := watch(t, b)
	terms := []driver.Term{win(t, a, request("g", ttl)), win(t, a, request("h", ttl))}
	if err := subB.Add(limit(t), "g"); err != nil {
		t.Fatal(err)
	}
	mustHeld(t, b, "g", ttl)
	session := s.get("g").Session
	destroyed := time.Now()
	if _, err := s.admin.Session().Destroy(session, nil); err != nil {
		t.Fatal(err)
	}
	for i, res := range renew(t, a, ttl, terms...) {
		if !errors.Is(res.Err, driver.ErrLost) {
			t.Errorf("term %d: %v", i, res.Err)
		}
	}
	for _, term := range terms {
		if !ka.saidLost(term.Nonce) {
			t.Errorf("no Lost for %v", term)
		}
	}
	eventually(t, "woken by the end of the session", func() bool { return kb.woken("g") > 0 })
	mustHeld(t, b, "g", ttl) // lock-delay
	before, wakes := count.requests.Load(), kb.woken("g")
	eventually(t, "woken by the end of the lock-delay", func() bool { return kb.woken("g") > wakes })
	if n := count.requests.Load() - before; n > 2 {
		t.Errorf("%d requests while waiting for the lock-delay", n)
	}
	next := win(t, b, request("g", ttl))
	if took := time.Since(destroyed); took < ttl {
		t.Errorf("granted %v after the session was destroyed, within the lock-delay", took)
	}
	if next.Token <= terms[0].Token {
		t.Errorf("token %d after %d", next.Token, terms[0].Token)
	}
	// and the first driver goes on in a new session
	if s2 := win(t, a, request("i", ttl)); s.get(s2.Group).Session == session {
		t.Error("the dead session is used again")
	}
}

// delayer is a proxy that keeps back one acquiring transaction, answers it with
// an error, and delivers it when told to.
type delayer struct {
	*httptest.Server
	mu     sync.Mutex
	armed  bool
	kept   []byte
	target string
}

func newDelayer(t *testing.T, addr string) *delayer {
	d := &delayer{target: addr}
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/txn" {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			d.mu.Lock()
			if d.armed && bytes.Contains(body, []byte(`"lock"`)) {
				d.armed, d.kept = false, body
				d.mu.Unlock()
				w.WriteHeader(http.StatusGatewayTimeout)
				return
			}
			d.mu.Unlock()
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *delayer) arm() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed = true
}

// deliver sends what was kept back and returns the server's status.
func (d *delayer) deliver(t *testing.T) int {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil {
		t.Fatal("no transaction was kept back")
	}
	req, err := http.NewRequestWithContext(limit(t), http.MethodPut, "http://"+d.target+"/v1/txn", bytes.NewReader(d.kept))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestLateTransaction: an acquiring transaction that executes after its sender
// gave up, in a session that other terms keep alive, must not keep the group.
func TestLateTransaction(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	begin := func(t *testing.T) (*space, *delayer, driver.Driver, driver.AcquireRequest) {
		s := newSpace(t)
		p := newDelayer(t, s.addr)
		d := s.open(func(o *consul.Options) { o.Address = p.URL })
		keep(t, d, ttl, win(t, d, request("other", ttl)))
		p.arm()
		req := request("g", ttl)
		var held *driver.HeldError
		if g, err := d.Acquire(limit(t), req); err == nil || errors.As(err, &held) || errors.Is(err, driver.ErrNotApplied) {
			t.Fatalf("the answer was lost: %+v, %v", g, err)
		}
		return s, p, d, req
	}
	t.Run("delivered soon", func(t *testing.T) {
		t.Parallel()
		s, p, _, req := begin(t)
		if status := p.deliver(t); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		if got := s.get("g"); got.Session == "" || !strings.Contains(string(got.Value), req.Nonce.String()) {
			t.Fatalf("the late transaction did not lock the key: %+v", got)
		}
		begun := time.Now()
		win(t, s.open(), request("g", ttl))
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("an orphan kept the group for %v", took)
		}
	})
	t.Run("delivered after it was settled", func(t *testing.T) {
		t.Parallel()
		s, p, _, _ := begin(t)
		eventually(t, "the key is written to", func() bool { return s.get("g") != nil })
		if status := p.deliver(t); status != http.StatusConflict {
			t.Fatalf("status %d: the late transaction is not void", status)
		}
		win(t, s.open(), request("g", ttl))
	})
	t.Run("sent again", func(t *testing.T) {
		t.Parallel()
		s, p, d, req := begin(t)
		term := win(t, d, req)
		if status := p.deliver(t); status != http.StatusConflict {
			t.Fatalf("status %d", status)
		}
		if res := renew(t, d, ttl, term); res[0].Err != nil {
			t.Fatal(res[0].Err)
		}
		if err := d.Resign(limit(t), term); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Acquire(limit(t), req); !errors.Is(err, driver.ErrResigned) {
			t.Fatalf("after Resign: %v", err)
		}
		_ = s
	})
}

// TestForgottenTerm: a term that is neither renewed nor resigned expires although
// the session is kept alive by another.
func TestForgottenTerm(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	a, b := s.open(), s.open()
	const ttl = 2 * time.Second
	keep(t, a, ttl, win(t, a, request("other", ttl)))
	start := time.Now()
	term := win(t, a, request("g", ttl))
	win(t, b, request("g", ttl))
	if took := time.Since(start); took < ttl || took > ttl+10*time.Second {
		t.Errorf("taken after %v", took)
	}
	if res := renew(t, a, ttl, term); !errors.Is(res[0].Err, driver.ErrLost) {
		t.Errorf("%v", res[0].Err)
	}
}

// TestMetadata: an update keeps the token and moves the index.
func TestMetadataKeepsToken(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	a, b := s.open(), s.open()
	const ttl = 10 * time.Second
	term := win(t, a, request("g", ttl))
	index := s.get("g").ModifyIndex
	if term.Token != index {
		t.Fatalf("token %d, index %d", term.Token, index)
	}
	for _, m := range []map[string]string{{"a": "1"}, {"a": "2"}, {}} {
		a.Renew(limit(t), []driver.RenewRequest{{Term: term, TTL: ttl, Metadata: m}}, func(r driver.RenewResult) {
			if r.Err != nil {
				t.Error(r.Err)
			}
		})
		rec, err := b.Leader(limit(t), "g")
		if err != nil || rec.Token != term.Token || len(rec.Metadata) != len(m) || rec.Metadata["a"] != m["a"] {
			t.Fatalf("%+v, %v", rec, err)
		}
	}
	if s.get("g").ModifyIndex <= index {
		t.Error("the index did not move, so nothing was shown")
	}
	if res := renew(t, a, ttl, term); res[0].Err != nil {
		t.Fatal(res[0].Err)
	}
	if err := a.Resign(limit(t), term); err != nil {
		t.Fatal(err)
	}
}

// TestDefaultTTL: with the shortest time-to-live that a server allows by default,
// nobody gets the group before it may, and somebody does by the declared time.
func TestDefaultTTL(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	const ttl = 10 * time.Second
	link := newLink(t, s.addr)
	o := s.options()
	o.MinSessionTTL = 0
	o.Address = "http://" + link.Addr()
	a, info, err := consul.NewDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	b := s.open()
	k, sub := watch(t, b)
	start := time.Now()
	first := win(t, a, request("g", ttl))
	link.Cut() // as good as kill -9
	if err := sub.Add(limit(t), "g"); err != nil {
		t.Fatal(err)
	}
	worst := info.WorstCaseExpiry(ttl)
	for {
		tried := time.Now()
		wakes := k.woken("g")
		g, err := b.Acquire(limit(t), request("g", ttl))
		if err == nil {
			if took := tried.Sub(start); took < ttl {
				t.Errorf("granted after %v", took)
			}
			if g.Token <= first.Token {
				t.Errorf("token %d after %d", g.Token, first.Token)
			}
			t.Logf("taken over after %v; the declared worst case is %v", time.Since(start), worst)
			return
		}
		for k.woken("g") == wakes {
			if time.Since(start) > worst+5*time.Second {
				t.Fatalf("not woken within the declared %v: %v", worst, err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}
