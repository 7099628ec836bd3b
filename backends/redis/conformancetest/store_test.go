package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/backends/redis/internal/seam"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
	server "github.com/multilock/multilock-go/testservers/redis"
)

func TestScriptFlushIsNotNoticed(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	d := open(t, at(s))
	var renewals []driver.RenewRequest
	for range 50 {
		renewals = append(renewals, driver.RenewRequest{Term: acquire(t, d, request(newGroup(), "a")), TTL: ttl})
	}
	s.Do("SCRIPT", "FLUSH")
	sent := s.Calls("eval")
	for i, r := range renew(t, d, renewals...) {
		if r.Err != nil {
			t.Fatalf("renewal %d after SCRIPT FLUSH: %v", i, r.Err)
		}
	}
	if n := s.Calls("eval") - sent; n != 1 {
		t.Errorf("the text of the script was sent %d times with a batch", n)
	}
	s.Do("SCRIPT", "FLUSH")
	if err := d.Resign(patience(t), renewals[0].Term); err != nil {
		t.Fatalf("Resign after SCRIPT FLUSH: %v", err)
	}
}

// Servers before version 7 do not know scripts with flags; their form of the
// scripts does the same.
func TestScriptsWithoutFlags(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	d := open(t, at(s))
	seam.SetPlain(d)
	tm := acquire(t, d, request(newGroup(), "a"))
	if _, err := renewOne(t, d, tm, ttl); err != nil {
		t.Fatal(err)
	}
	if rec, err := open(t, at(s)).Leader(patience(t), tm.Group); err != nil || rec.Term != tm {
		t.Fatalf("as the other form reads it: %+v, %v", rec, err)
	}
	if err := d.Resign(patience(t), tm); err != nil {
		t.Fatal(err)
	}
	if next := acquire(t, d, request(tm.Group, "b")); next.Token <= tm.Token {
		t.Errorf("token %d after %d", next.Token, tm.Token)
	}
}

func TestLosingTheRecord(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	a, b := open(t, at(s)), open(t, at(s))
	first := acquire(t, a, request(newGroup(), "a"))
	s.Do("FLUSHALL")
	// What FLUSHALL costs: another leads at once. The fence still orders them.
	second := acquire(t, b, request(first.Group, "b"))
	if second.Token <= first.Token {
		t.Errorf("token %d after %d", second.Token, first.Token)
	}
	if _, err := renewOne(t, a, first, ttl); err != driver.ErrLost {
		t.Errorf("Renew of a flushed term: %v", err)
	}
}

// aboutToRestart is a server, older than grace, with two clients and one leader.
func aboutToRestart(t *testing.T, grace time.Duration) (s *server.Server, a, b driver.Driver) {
	t.Helper()
	s = server.Start(t, server.Options{})
	o := redis.Options{Addrs: []string{s.Addr}, Grace: grace}
	aged(s, int(grace/time.Second)+1)
	return s, open(t, o), open(t, o)
}

// waitsForGrace restarts a server that then has forgotten a term: its leader learns
// of that by its next renewal, and another leads only after the grace.
func waitsForGrace(t *testing.T, s *server.Server, a, b driver.Driver, believer driver.Term, grace time.Duration) {
	t.Helper()
	began := time.Now()
	s.Restart()
	var last error
	eventually(t, "the renewal is answered", func() bool {
		_, last = renewOne(t, a, believer, ttl)
		return last == nil || errors.Is(last, driver.ErrLost)
	})
	want(t, "Renew of a term that was forgotten", last, driver.ErrLost)
	req := request(believer.Group, "b")
	var second driver.Term
	eventually(t, "another leads", func() bool {
		g, err := b.Acquire(patience(t), req)
		if err == nil {
			second = term(req, g)
			return true
		}
		var held *driver.HeldError
		if errors.As(err, &held) && (held.Record.Remaining <= 0 || held.Record.Remaining > grace) {
			t.Fatalf("remaining grace %v", held.Record.Remaining)
		}
		return false
	})
	if d := time.Since(began); d < grace {
		t.Errorf("another leads %v after the restart, within the grace of %v", d, grace)
	}
	if second.Token <= believer.Token {
		t.Errorf("token %d after %d", second.Token, believer.Token)
	}
}

func TestRestartWithoutPersistenceWaitsForGrace(t *testing.T) {
	t.Parallel()
	const grace = 4 * time.Second
	s, a, b := aboutToRestart(t, grace)
	waitsForGrace(t, s, a, b, acquire(t, a, request(newGroup(), "a")), grace)
}

// What Redis does unless it is told otherwise: a snapshot now and then. It is
// older than what was acknowledged, so the group looks free although its leader
// believes.
func TestRestartFromASnapshotWaitsForGrace(t *testing.T) {
	t.Parallel()
	const grace = 4 * time.Second
	s, a, b := aboutToRestart(t, grace)
	group := newGroup()
	resignAnew(t, a, group)
	s.Do("SAVE")
	believer := acquire(t, a, request(group, "a"))
	time.Sleep(grace + 2*time.Second) // the time of the snapshot must not pass for that of the start
	waitsForGrace(t, s, a, b, believer, grace)
	if n := s.Do("HGET", key(group), "resigned"); n == "" {
		t.Error("the snapshot was not loaded: the test shows nothing")
	}
}

// A server that has saved a moment ago may be old all the same: INFO is asked then,
// and only then.
func TestGraceAfterASave(t *testing.T) {
	t.Parallel()
	const grace = 2 * time.Second
	s := server.Start(t, server.Options{})
	aged(s, int(grace/time.Second)+2)
	d := open(t, redis.Options{Addrs: []string{s.Addr}, Grace: grace})
	group := newGroup()
	resignAnew(t, d, group) // with INFO for the policy
	infos := func() int64 {
		before := s.Calls("info")
		resignAnew(t, d, group)
		return s.Calls("info") - before - 1 // which is this look itself
	}
	if n := infos(); n != 0 {
		t.Errorf("INFO was called %d times although the server has not saved for long", n)
	}
	s.Do("SAVE")
	if n := infos(); n != 1 {
		t.Errorf("INFO was called %d times just after a save, want once", n)
	}
}

func TestRestartWithPersistenceKeepsTheTerm(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Persist: true})
	d := open(t, at(s))
	tm := acquire(t, d, request(newGroup(), "a"))
	s.Restart()
	var err error
	eventually(t, "the renewal is answered", func() bool {
		_, err = renewOne(t, d, tm, ttl)
		return err == nil || errors.Is(err, driver.ErrLost)
	})
	if err != nil {
		t.Fatalf("Renew after a restart that lost nothing: %v", err)
	}
}

func TestClockSteps(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Faketime: true})
	d := open(t, at(s))
	first := acquire(t, d, request(newGroup(), "a"))
	s.StepClock(-time.Hour)
	_, err := d.Acquire(patience(t), request(first.Group, "b"))
	if rec := mustHold(t, err); rec.Remaining > ttl {
		t.Fatalf("after a step back the remaining time is %v", rec.Remaining)
	}
	// The clamp is written, so the wait does not begin anew with every look.
	time.Sleep(100 * time.Millisecond)
	if rec, err := d.Leader(patience(t), first.Group); err != nil || rec.Remaining > ttl-50*time.Millisecond {
		t.Fatalf("not clamped for good: %+v, %v", rec, err)
	}
	if _, err := renewOne(t, d, first, ttl); err != nil {
		t.Fatalf("Renew after a step back: %v", err)
	}
	s.StepClock(2 * time.Hour)
	if _, err := renewOne(t, d, first, ttl); err != driver.ErrLost {
		t.Fatalf("Renew after a step beyond the expiry: %v", err)
	}
	second := acquire(t, d, request(first.Group, "b"))
	s.StepClock(-3 * time.Hour)
	if err := d.Resign(patience(t), second); err != nil {
		t.Fatal(err)
	}
	third := acquire(t, d, request(first.Group, "c"))
	if second.Token <= first.Token || third.Token != second.Token+1 {
		t.Errorf("tokens %d, %d, %d", first.Token, second.Token, third.Token)
	}
	// The server now says that it has not been started yet: a group without a
	// record waits for the grace once.
	o := at(s)
	o.Grace = 100 * time.Millisecond
	d = open(t, o)
	req := request(newGroup(), "a")
	_, err = d.Acquire(patience(t), req)
	mustHold(t, err)
	time.Sleep(2 * o.Grace)
	renewed := acquire(t, d, req)
	s.StepClock(-time.Hour)
	if _, err := renewOne(t, d, renewed, ttl); err != nil {
		t.Fatal(err)
	}
	if rec, err := d.Leader(patience(t), renewed.Group); err != nil || rec.Remaining > ttl {
		t.Errorf("Renew did not clamp: %+v, %v", rec, err)
	}
}

// fill writes until the server has no memory left for more.
func fill(s *server.Server, prefix string, expire bool) {
	value := strings.Repeat("x", 10_000)
	for i := range 2000 {
		args := []string{"SET", fmt.Sprintf("%s-%d", prefix, i), value}
		if expire {
			args = append(args, "EX", "1000")
		}
		if _, err := server.Do(s.Context(), s.Addr, args...); err != nil {
			return
		}
	}
}

func TestEvictionUnderVolatilePolicySparesTheRecord(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Args: []string{"--maxmemory", "4mb", "--maxmemory-policy", "volatile-lru"}})
	d := open(t, at(s))
	tm := acquire(t, d, request(newGroup(), "a"))
	fill(s, "cache", true)
	if n := s.Info("stats", "evicted_keys"); n == "0" {
		t.Fatal("nothing was evicted: the test shows nothing")
	}
	if _, err := renewOne(t, d, tm, ttl); err != nil {
		t.Fatalf("Renew under eviction: %v", err)
	}
}

func TestFullMemoryCostsNoLeadership(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Args: []string{"--maxmemory", "3mb", "--maxmemory-policy", "volatile-lru"}})
	d := open(t, at(s))
	tm := acquire(t, d, request(newGroup(), "a"))
	fill(s, "data", false)
	if _, err := server.Do(s.Context(), s.Addr, "SET", "one-more", strings.Repeat("x", 100_000)); err == nil || !strings.HasPrefix(err.Error(), "OOM") {
		t.Fatalf("the memory is not full: %v", err)
	}
	if _, err := renewOne(t, d, tm, ttl); err != nil {
		t.Fatalf("Renew with full memory: %v", err)
	}
	if err := d.Resign(patience(t), tm); err != nil {
		t.Fatalf("Resign with full memory: %v", err)
	}
	acquire(t, d, request(tm.Group, "b"))
}

func TestPolicyThatEvictsLeadersIsRefused(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Args: []string{"--maxmemory-policy", "allkeys-lru"}})
	d := open(t, at(s))
	req := request(newGroup(), "a")
	_, err := d.Acquire(patience(t), req)
	want(t, "Acquire under allkeys-lru", err, driver.ErrMisconfigured)
	if n := s.Do("EXISTS", key(req.Group)); n != "0" {
		t.Error("the refused attempt has left a record")
	}
	s.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	acquire(t, d, req)

	// After a failure it may be another server, by the same name.
	p := proxy.Start(t, s.Addr)
	d = open(t, redis.Options{Addrs: []string{p.Addr()}})
	acquire(t, d, request(newGroup(), "a"))
	s.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
	p.Cut()
	if _, err := d.Acquire(patience(t), request(newGroup(), "a")); err == nil {
		t.Fatal("granted over a network that is cut")
	}
	p.Restore()
	_, err = d.Acquire(patience(t), request(newGroup(), "a"))
	want(t, "Acquire under allkeys-lfu after a failure", err, driver.ErrMisconfigured)
}

// Many attempts that travel together: one looks at the policy, and none is granted
// by a server that is refused.
func TestOneOfABatchLooksAtThePolicy(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Args: []string{"--maxmemory-policy", "allkeys-lru"}})
	d := open(t, redis.Options{Addrs: []string{s.Addr}, Grace: time.Millisecond})
	aged(s, 3)
	reqs := make([]driver.AcquireRequest, 5)
	for i := range reqs {
		reqs[i] = request(newGroup(), "a")
	}
	attempt := func() (errs []error) {
		errs = make([]error, len(reqs))
		d.(driver.BatchAcquirer).AcquireBatch(patience(t), reqs, func(i int, g driver.Grant, err error) { errs[i] = err })
		return errs
	}
	for i, err := range attempt() {
		want(t, fmt.Sprintf("attempt %d under allkeys-lru", i), err, driver.ErrMisconfigured)
		if n := s.Do("EXISTS", key(reqs[i].Group)); n != "0" {
			t.Errorf("the refused attempt %d has left a record", i)
		}
	}
	s.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	before := s.Calls("info")
	for i, err := range attempt() {
		if err != nil {
			t.Errorf("attempt %d: %v", i, err)
		}
	}
	if n := s.Calls("info") - before - 1; n != 1 { // which is this look itself
		t.Errorf("INFO was called %d times for one batch", n)
	}
}

func TestMisconfigurations(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Args: []string{"--requirepass", "secret"}})
	auth := func(args ...string) {
		t.Helper()
		if out, err := server.DoAuth(s.Context(), s.Addr, "secret", args...); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
	}
	auth("ACL", "SETUSER", "nothing", "on", ">p", "~*", "&*", "+ping")
	auth("ACL", "SETUSER", "reader", "on", ">p", "~*", "&*", "+evalsha", "+eval", "+hmget", "+time", "+exists", "+info")
	auth("ACL", "SETUSER", "elsewhere", "on", ">p", "~other:*", "&*", "+@all")
	for name, o := range map[string]redis.Options{
		"no password":      {},
		"wrong password":   {Password: "guess"},
		"unknown user":     {Username: "nobody", Password: "guess"},
		"no database":      {Password: "secret", Database: 99},
		"no cluster":       {Password: "secret", Cluster: true},
		"may not run":      {Username: "nothing", Password: "p"},
		"may not write":    {Username: "reader", Password: "p"},
		"may not this key": {Username: "elsewhere", Password: "p"},
	} {
		o.Addrs = []string{s.Addr}
		refuses(t, name, o)
	}
	old := server.Start(t, server.Options{Args: []string{"--rename-command", "EVALSHA", ""}})
	refuses(t, "no scripts", at(old))
}

// refuses has an elector run: it ends, with a hint and without a secret.
func refuses(t *testing.T, name string, o redis.Options) {
	t.Helper()
	b := backend(t, o)
	e, err := multilock.New(b, multilock.Options{Group: newGroup()})
	if err != nil {
		t.Fatal(err)
	}
	err = e.Run(patience(t), func(context.Context, multilock.Term) error { return errors.New("it led") })
	if !errors.Is(err, multilock.ErrMisconfigured) || !strings.Contains(err.Error(), "(") {
		t.Errorf("%s: want a misconfiguration with a hint, got %v", name, err)
		return
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err), b.String(), o.String()} {
		if strings.Contains(text, "guess") || strings.Contains(text, "secret") {
			t.Errorf("%s: the password is told: %s", name, text)
		}
	}
}

func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	s.Do(append([]string{"ACL", "SETUSER", "elector", "on", ">p", "~leader-election:*", "&leader-election:*"},
		strings.Fields("+eval +evalsha +hmget +hset +hincrby +hget +exists +time +lastsave +info +publish +subscribe +unsubscribe +ping")...)...)
	o := redis.Options{Addrs: []string{s.Addr}, Username: "elector", Password: "p"}
	a, b := open(t, o), open(t, o)
	sink, sub := watchOn(t, b)
	tm := acquire(t, a, request(newGroup(), "a"))
	if err := sub.Add(patience(t), tm.Group); err != nil {
		t.Fatalf("Add: %v", err)
	}
	if _, err := renewOne(t, a, tm, ttl); err != nil {
		t.Fatal(err)
	}
	if err := a.(driver.Pinger).Ping(patience(t)); err != nil {
		t.Fatal(err)
	}
	if err := a.Resign(patience(t), tm); err != nil {
		t.Fatal(err)
	}
	sink.woken(t, tm.Group, 1)
	acquire(t, b, request(tm.Group, "b"))

	// LASTSAVE is only cheaper than INFO.
	s.Do("ACL", "SETUSER", "elector", "-lastsave")
	acquire(t, a, request(newGroup(), "a"))

	// Without both nobody can tell a new group from a lost one.
	s.Do("ACL", "SETUSER", "elector", "-info")
	o.Grace = 2 * time.Second
	c := open(t, o)
	began := time.Now()
	req := request(newGroup(), "c")
	_, err := c.Acquire(patience(t), req)
	mustHold(t, err)
	if _, err := c.Leader(patience(t), req.Group); err != driver.ErrNoLeader {
		t.Errorf("Leader during the grace: %v", err)
	}
	eventually(t, "the grace has passed", func() bool {
		_, err := c.Acquire(patience(t), req)
		return err == nil
	})
	if d := time.Since(began); d < o.Grace {
		t.Errorf("granted after %v, within the grace", d)
	}
	again := request(req.Group, "d")
	if err := c.Resign(patience(t), driver.Term{Group: req.Group, Nonce: req.Nonce}); err != nil {
		t.Fatal(err)
	}
	acquire(t, c, again) // the record is there now: no further grace

	// Without the right to publish a resignation is one all the same.
	s.Do("ACL", "SETUSER", "elector", "-publish")
	if err := c.Resign(patience(t), driver.Term{Group: req.Group, Nonce: again.Nonce}); err != nil {
		t.Errorf("Resign without the right to publish: %v", err)
	}
	s.Do("ACL", "SETUSER", "elector", "resetchannels")
	_, sub = watchOn(t, open(t, o))
	want(t, "Add without the right to the channel", sub.Add(patience(t), newGroup()), driver.ErrMisconfigured)
}

func TestServerThatIsDownIsNotApplied(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{Persist: true})
	d := open(t, at(s))
	s.Kill()
	req := request(newGroup(), "a")
	_, err := d.Acquire(patience(t), req)
	want(t, "Acquire", err, driver.ErrNotApplied)

	// An elector starts, and leads when the server is there.
	e, err := multilock.New(backend(t, at(s)), multilock.Options{Group: newGroup(), HeartbeatTimeout: ttl})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatalf("Start while the server is down: %v", err)
	}
	s.Start()
	if _, err := e.WaitForLeadership(patience(t)); err != nil {
		t.Errorf("when the server is there: %v", err)
	}
	eventually(t, "granted when the server is back", func() bool {
		_, err := d.Acquire(patience(t), req)
		return err == nil
	})
}

func TestReadOnlyServerIsNotApplied(t *testing.T) {
	t.Parallel()
	master := server.Start(t, server.Options{})
	replica := server.Start(t, server.Options{})
	host, port, _ := strings.Cut(master.Addr, ":")
	replica.Do("REPLICAOF", host, port)
	d := open(t, at(replica))
	_, err := d.Acquire(patience(t), request(newGroup(), "a"))
	want(t, "Acquire on a replica", err, driver.ErrNotApplied)
	replica.Do("REPLICAOF", "NO", "ONE")
	acquire(t, d, request(newGroup(), "a"))
}

func TestWaitReplicas(t *testing.T) {
	t.Parallel()
	master, replica := server.Start(t, server.Options{}), server.Start(t, server.Options{})
	host, port, _ := strings.Cut(master.Addr, ":")
	o := at(master)
	o.WaitReplicas = 1
	d := open(t, o)
	req := request(newGroup(), "a")
	req.TTL = time.Minute
	_, err := d.Acquire(patience(t), req)
	if err == nil || errors.Is(err, driver.ErrNotApplied) {
		t.Fatalf("granted without a replica: %v", err)
	}
	replica.Do("REPLICAOF", host, port)
	eventually(t, "the replica is in step", func() bool { return replica.Info("replication", "master_link_status") == "up" })
	var tm driver.Term
	eventually(t, "granted when the replica confirms", func() bool {
		g, err := d.Acquire(patience(t), req)
		tm = term(req, g)
		return err == nil
	})
	other := tm
	other.Nonce = driver.NewNonce()
	res := renew(t, d, driver.RenewRequest{Term: tm, TTL: time.Minute}, driver.RenewRequest{Term: other, TTL: time.Minute})
	if res[0].Err != nil || res[1].Err != driver.ErrLost {
		t.Fatalf("renewals: %+v", res)
	}
	replica.Do("REPLICAOF", "NO", "ONE")
	res = renew(t, d, driver.RenewRequest{Term: tm, TTL: time.Minute}, driver.RenewRequest{Term: other, TTL: time.Minute})
	if res[0].Err == nil || errors.Is(res[0].Err, driver.ErrLost) || res[1].Err != driver.ErrLost {
		t.Fatalf("renewals without the replica: %+v", res)
	}
}
