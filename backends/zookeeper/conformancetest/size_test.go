package conformancetest

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/backends/zookeeper"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/testservers/proxy"
	zkserver "github.com/multilock/multilock-go/testservers/zookeeper"
)

// groupsEnv names the variable that changes how many groups TestManyGroups has.
const groupsEnv = "MULTILOCK_TEST_ZOOKEEPER_GROUPS"

const slowTick = 500 * time.Millisecond

// process is what one process of an application has: a backend with an elector
// for each group, and here a network that counts.
type process struct {
	t        *testing.T
	backend  *multilock.Backend
	electors []*multilock.Elector
	sent     *operations
	link     *proxy.Proxy
}

func (w *world) process(groups int) *process {
	w.t.Helper()
	p := &process{t: w.t.(*testing.T), sent: newOperations(), link: proxy.Start(w.t, w.servers[0])}
	h := zookeeper.NewHook(p.sent.dial, nil)
	conn, _, err := zk.Connect([]string{p.link.Addr()}, w.ttl, zk.WithDialer(h.Dial), zk.WithEventCallback(h.Event), zk.WithLogInfo(false))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	o := w.options()
	o.Servers, o.Tick = nil, slowTick
	if p.backend, err = zookeeper.FromConn(conn, h, o); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = p.backend.Close(within(patience)) })
	for i := range groups {
		e, err := multilock.New(p.backend, multilock.Options{Group: fmt.Sprint("g", i)})
		if err != nil {
			w.t.Fatal(err)
		}
		p.electors = append(p.electors, e)
	}
	return p
}

// start starts all electors and waits for done.
func (p *process) start(what string, done func(multilock.Stats) bool) {
	p.t.Helper()
	var wg sync.WaitGroup
	gate := make(chan struct{}, 16)
	began := time.Now()
	for _, e := range p.electors {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			if err := e.Start(p.t.Context()); err != nil {
				p.t.Errorf("start: %v", err)
			}
		})
	}
	wg.Wait()
	p.until(what, func() bool { return done(p.backend.Stats()) })
	p.t.Logf("%d electors %s after %v: requests by kind %v", len(p.electors), what, time.Since(began).Round(time.Millisecond), p.sent.take())
}

// until waits as long as many groups may take.
func (p *process) until(what string, cond func() bool) {
	p.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not in five minutes: all electors %s", what)
		}
	}
}

// A process that leads many groups and one that follows them have one connection
// each. A heartbeat is one write for up to 500 terms; followers send nothing.
func TestManyGroups(t *testing.T) {
	ownServers(t)
	// A server of its own, so that the figures mean something, with sessions that
	// outlast a busy machine.
	w := worldOn(t, zkserver.Start(t, zkserver.Options{Tick: slowTick}).Addr)
	w.ttl = 60 * slowTick
	groups := 500
	if raw := os.Getenv(groupsEnv); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 200 {
			t.Fatalf("%s must be a number from 200", groupsEnv)
		}
		groups = n
	}
	leader, follower := w.process(groups), w.process(groups)
	leader.start("lead", func(s multilock.Stats) bool { return s.LiveTerms == groups })
	follower.start("follow", func(s multilock.Stats) bool { return s.Watched == groups })
	follower.until("are at rest", func() bool { // each looks once more when its watch is in force
		made := follower.backend.Stats().Acquires
		time.Sleep(200 * time.Millisecond)
		return follower.backend.Stats().Acquires == made
	})

	leader.sent.take()
	follower.sent.take()
	before, heard := leader.backend.Stats(), follower.backend.Stats()
	began := time.Now()
	leader.until("have renewed", func() bool { return leader.backend.Stats().RenewedTerms-before.RenewedTerms >= uint64(2*groups) })
	took := time.Since(began)
	sent, batches := leader.sent.take(), int(leader.backend.Stats().Renewals-before.Renewals)
	t.Logf("two heartbeats of %d terms in %v: %d batches, requests by kind %v", groups, took.Round(time.Millisecond), batches, sent)
	if sent[opSetData] > batches || batches > 2*(groups/500+2) {
		t.Errorf("%d writes in %d batches of %d terms", sent[opSetData], batches, groups)
	}
	sent = follower.sent.take()
	t.Logf("the follower meanwhile: requests by kind %v, %d attempts", sent, follower.backend.Stats().Acquires-heard.Acquires)
	delete(sent, opSync)
	delete(sent, opPing)
	if len(sent) > 0 {
		t.Errorf("idle followers have sent %v", sent)
	}

	const handed = 100
	began = time.Now()
	var wg sync.WaitGroup
	for _, e := range leader.electors[:handed] {
		wg.Go(func() {
			if err := e.Stop(within(patience)); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
	follower.until("of the groups handed over lead", func() bool { return follower.backend.Stats().LiveTerms >= handed })
	wg.Wait()
	t.Logf("%d groups at once were handed over in %v", handed, time.Since(began).Round(time.Millisecond))
	for _, e := range follower.electors[:handed] {
		if !e.IsLeader() {
			t.Errorf("nobody leads %s", e.Options().Group)
		}
	}
	if n := leader.backend.Stats().LiveTerms; n != groups-handed {
		t.Errorf("%d terms stayed", n)
	}
	for name, p := range map[string]*process{"leader": leader, "follower": follower} {
		if n := len(p.link.Open()); n != 1 {
			t.Errorf("%s: %d connections", name, n)
		}
		if n := p.link.Accepted(); n != 1 {
			t.Logf("%s: the connection was replaced %d times", name, n-1)
		}
	}
}
