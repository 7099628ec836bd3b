package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/core/driver"
	server "github.com/multilock/multilock-go/testservers/postgres"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// bell is a Sink that counts.
type bell struct {
	mu   sync.Mutex
	woke map[string]int
	all  int
}

func (b *bell) Wake(group string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.woke == nil {
		b.woke = map[string]int{}
	}
	b.woke[group]++
}

func (b *bell) WakeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all++
}

func (b *bell) Lost(string, driver.Nonce) {}

func (b *bell) count(group string) (woke, all int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.woke[group], b.all
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func watch(t *testing.T, d driver.Driver, sink driver.Sink, groups ...string) driver.Subscription {
	t.Helper()
	sub, err := d.(driver.Watcher).Watch(t.Context(), sink)
	must(t, err)
	for _, g := range groups {
		must(t, sub.Add(t.Context(), g))
	}
	return sub
}

func sessions(t *testing.T, w *world, query string, args ...any) (n int) {
	t.Helper()
	w.value(&n, "SELECT count(*) FROM pg_stat_activity WHERE "+query, args...)
	return n
}

// Ten thousand groups on one subscription, one connection, and one notification
// each to the group that was meant.
func TestOneConnectionListensForAllGroups(t *testing.T) {
	t.Parallel()
	o := options(t)
	name := fmt.Sprintf("listeners %d", time.Now().UnixNano())
	o.ConnString = with(o.ConnString, "application_name", name)
	follower := open(t, o)
	var b bell
	groups := make([]string, 10_000)
	for i := range groups {
		groups[i] = fmt.Sprintf("g%d", i)
	}
	sub := watch(t, follower, &b, groups...)
	w := newWorld(t)
	if n := sessions(t, w, "application_name = $1", name); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	leader := open(t, o)
	for _, g := range []string{"g7", "g9999", "stranger"} {
		req := request(g)
		grant, err := leader.Acquire(t.Context(), req)
		must(t, err)
		must(t, leader.Resign(t.Context(), driver.Term{Group: g, Nonce: req.Nonce, Token: grant.Token}))
	}
	eventually(t, "both groups are woken", func() bool {
		seven, _ := b.count("g7")
		last, _ := b.count("g9999")
		return seven == 1 && last == 1
	})
	if n, all := b.count("stranger"); n != 0 || all != 0 {
		t.Errorf("a group nobody watches was woken %d times, all %d times", n, all)
	}
	sub.Remove("g7")
	must(t, sub.Close())
}

// The listening connection ends on the server: it is replaced, and everybody is
// woken for what was missed.
func TestListenerIsReplaced(t *testing.T) {
	t.Parallel()
	o := options(t)
	name := fmt.Sprintf("replaced %d", time.Now().UnixNano())
	o.ConnString = with(o.ConnString, "application_name", name)
	d := open(t, o)
	var b bell
	watch(t, d, &b, "g")
	w := newWorld(t)
	must(t, exec(w.admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name))
	eventually(t, "all are woken", func() bool { _, all := b.count("g"); return all > 0 })
	req := request("g")
	grant, err := d.Acquire(t.Context(), req)
	if err != nil { // the pool's connection may have been among those that ended
		grant, err = d.Acquire(t.Context(), req)
	}
	must(t, err)
	must(t, d.Resign(t.Context(), driver.Term{Group: "g", Nonce: req.Nonce, Token: grant.Token}))
	eventually(t, "the group is woken again", func() bool { n, _ := b.count("g"); return n > 0 })
}

func TestAutoFallsBackBehindATransactionPooler(t *testing.T) {
	t.Parallel()
	o := options(t)
	base := o.ConnString
	o.ConnString = at(base, bouncer().Addr())
	d := open(t, o)
	req := request("g")
	for range 20 { // prepared statements would fail on the second session
		if _, err := d.Acquire(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	if sub, err := d.(driver.Watcher).Watch(t.Context(), &bell{}); err == nil {
		_ = sub.Close()
		t.Error("Watch behind a transaction pooler succeeded")
	}
	// It was not even tried: LISTEN would stay behind in a session of the pooler.
	w := newWorld(t)
	var channel string
	w.value(&channel, "SELECT 'multilock_' || substr(encode(sha256(decode('7075626c696300', 'hex') || convert_to($1, 'UTF8')), 'hex'), 1, 24)", o.Table)
	listens := func() (n int) {
		w.value(&n, "SELECT coalesce(sum(calls), 0)::int FROM pg_stat_statements WHERE query LIKE 'LISTEN%' || $1 || '%'", channel)
		return n
	}
	if n := listens(); n != 0 {
		t.Errorf("LISTEN was sent %d times through a pooler", n)
	}
	direct := o
	direct.ConnString = base
	watch(t, open(t, direct), &bell{}, "g")
	if n := listens(); n != 1 { // so the count above could have shown it
		t.Errorf("LISTEN was sent %d times to the server", n)
	}

	o.Notify = postgres.NotifyOn
	if _, err := open(t, o).Acquire(t.Context(), request("on")); !errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("Notify on behind a transaction pooler: %v", err)
	}
}

// Many drivers behind few server sessions: whatever is left in a session by one
// is found by another.
func TestNothingIsLeftInThePoolersSessions(t *testing.T) {
	t.Parallel()
	base, ours := serverURL()
	if !ours {
		t.Skip("the pooler stands before a server of our own")
	}
	few := server.StartBouncer(t, shared(), "transaction", "default_pool_size = 2")
	o := options(t)
	o.ConnString = at(base, few.Addr())
	var wg sync.WaitGroup
	for i := range 8 {
		d := open(t, o)
		wg.Go(func() {
			for k := range 25 {
				req := request(fmt.Sprintf("g%d", i))
				g, err := d.Acquire(t.Context(), req)
				if err != nil {
					t.Errorf("client %d, round %d: acquire: %v", i, k, err)
					return
				}
				term := driver.Term{Group: req.Group, Nonce: req.Nonce, Token: g.Token}
				if r := renew(t.Context(), d, req.TTL, term)[0]; r.Err != nil {
					t.Errorf("client %d, round %d: renew: %v", i, k, r.Err)
				}
				if err := d.Resign(t.Context(), term); err != nil {
					t.Errorf("client %d, round %d: resign: %v", i, k, err)
				}
			}
		})
	}
	wg.Wait()
	conn := admin(t, o.ConnString)
	defer conn.Close(context.Background())
	for range 10 {
		var lock, commit string
		must(t, conn.QueryRow(t.Context(), "SELECT current_setting('lock_timeout'), current_setting('synchronous_commit')").Scan(&lock, &commit))
		if lock != "0" || commit != "on" {
			t.Fatalf("a session was left with lock_timeout %s, synchronous_commit %s", lock, commit)
		}
	}
}

func TestNotifyOnWorksThroughASessionPooler(t *testing.T) {
	t.Parallel()
	base, ours := serverURL()
	if !ours {
		t.Skip("the pooler stands before a server of our own")
	}
	session := server.StartBouncer(t, shared(), "session")
	o := options(t)
	o.ConnString, o.Notify = at(base, session.Addr()), postgres.NotifyOn
	d := open(t, o)
	req := request("g")
	g, err := d.Acquire(t.Context(), req)
	must(t, err)
	var b bell
	watch(t, d, &b, "g")
	must(t, d.Resign(t.Context(), driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}))
	eventually(t, "woken through the pooler", func() bool { n, _ := b.count("g"); return n == 1 })
}

// An address behind which a server hangs, until it is another's: what was given up
// at the first does not keep calls from being made at the second.
func TestManyAbandonedCalls(t *testing.T) {
	t.Parallel()
	hung, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	must(t, err)
	defer hung.Close()
	o := options(t)
	base := o.ConnString
	p := proxy.Start(t, hostOf(t, base))
	o.ConnString = at(base, p.Addr())
	d := open(t, o)
	req := request("g")
	req.TTL = time.Hour
	g, err := d.Acquire(t.Context(), req)
	must(t, err)
	term := driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}
	p.SetTarget(hung.Addr().String())
	p.Reset()
	for range 30 {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := d.Leader(ctx, "g"); err == nil {
			t.Error("an answer of nobody")
		}
		if r := renew(ctx, d, time.Hour, term)[0]; r.Err == nil || errors.Is(r.Err, driver.ErrLost) {
			t.Errorf("a renewal by nobody: %v", r.Err)
		}
		cancel()
	}
	p.SetTarget(hostOf(t, base))
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second) // pgx takes 15 s or more to give up one
	defer cancel()
	if _, err := d.Leader(ctx, "g"); err != nil {
		t.Errorf("at the other server: %v", err)
	}
	if r := renew(ctx, d, time.Hour, term)[0]; r.Err != nil {
		t.Errorf("a renewal at the other server: %v", r.Err)
	}
}

// hostOf is the address in a URL.
func hostOf(t *testing.T, base string) string {
	t.Helper()
	u, err := url.Parse(base)
	must(t, err)
	return u.Host
}

// A cancelled call returns at once although nobody answers.
func TestCancelledCallReturns(t *testing.T) {
	t.Parallel()
	o := options(t)
	base := o.ConnString
	conf := admin(t, base).Config()
	p := proxy.Start(t, fmt.Sprintf("%s:%d", conf.Host, conf.Port))
	o.ConnString = at(base, p.Addr())
	d := open(t, o)
	if _, err := d.Acquire(t.Context(), request("g")); err != nil {
		t.Fatal(err)
	}
	p.Blackhole(proxy.BothWays)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := d.Acquire(ctx, request("g")); err == nil {
		t.Error("an answer out of a black hole")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("a cancelled call took %v", took)
	}
	p.Restore()
	if _, err := d.Leader(t.Context(), "g"); err != nil {
		t.Errorf("after the black hole: %v", err)
	}
	p.Blackhole(proxy.BothWays)
	start = time.Now()
	must(t, d.Close())
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("Close took %v", took)
	}
}
