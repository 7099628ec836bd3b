package conformancetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/backends/zookeeper"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/testservers/proxy"
	zkserver "github.com/multilock/multilock-go/testservers/zookeeper"
)

// election is a group with electors whose beliefs are compared whenever one
// begins to lead.
type election struct {
	t     *testing.T
	mu    sync.Mutex
	all   []*multilock.Elector
	terms []multilock.Term // in the order of their beginnings
}

func (e *election) join(name string, o zookeeper.Options) *multilock.Elector {
	e.t.Helper()
	b, err := zookeeper.Open(within(patience), o)
	if err != nil {
		e.t.Fatal(err)
	}
	el, err := multilock.New(b, multilock.Options{Group: "g", ParticipantID: name, HeartbeatTimeout: o.SessionTimeout})
	if err != nil {
		e.t.Fatal(err)
	}
	e.mu.Lock()
	e.all = append(e.all, el)
	e.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = el.Run(ctx, func(ctx context.Context, term multilock.Term) error {
			e.begins(el, term)
			<-ctx.Done()
			return nil
		})
	}()
	e.t.Cleanup(func() {
		cancel()
		<-done
		_ = b.Close(within(patience))
	})
	return el
}

// begins compares beliefs: each is a look at the clock, so that two leaders
// cannot escape.
func (e *election) begins(me *multilock.Elector, term multilock.Term) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, other := range e.all {
		if was, ok := other.Term(); other != me && ok && me.IsLeader() {
			e.t.Errorf("%v began while %v was believed", term, was)
		}
	}
	if n := len(e.terms); n > 0 && e.terms[n-1].Token >= term.Token {
		e.t.Errorf("%v began after %v", term, e.terms[n-1])
	}
	e.terms = append(e.terms, term)
}

func (e *election) led() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.terms)
}

func (e *election) leader() *multilock.Elector {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, el := range e.all {
		if el.IsLeader() {
			return el
		}
	}
	return nil
}

func roles(t *testing.T, servers []*zkserver.Server) (leader *zkserver.Server, followers []*zkserver.Server) {
	t.Helper()
	for _, s := range servers {
		if s.Mode() == "leader" {
			leader = s
		} else {
			followers = append(followers, s)
		}
	}
	if leader == nil {
		t.Fatal("the ensemble has no leader")
	}
	return leader, followers
}

// The ensemble's leader is killed during an election: the term stays if the
// session outlives the ensemble's own election, and is never doubled.
func TestEnsembleLeaderKilled(t *testing.T) {
	ownServers(t)
	servers := zkserver.StartEnsemble(t, zkserver.Options{Tick: tick})
	e := &election{t: t}
	const long = 6 * time.Second // 60 ticks, far more than electing a leader takes
	for i, s := range servers {
		// The first of the list is tried first, so that each has a server of its own.
		addrs := append([]string{s.Addr}, zkserver.Addrs(servers)...)
		e.join(fmt.Sprint("e", i), zookeeper.Options{Servers: addrs, SessionTimeout: long, Tick: tick, RootPath: "/kill"})
	}
	eventually(t, "somebody leads", func() bool { return e.leader() != nil })
	for range 2 {
		leads, before := e.leader(), e.led()
		dead, others := roles(t, servers)
		began := time.Now()
		dead.Kill()
		away := make(chan time.Duration, 1)
		go func() { // until the others serve clients again; before they miss the dead one they seem to
			for deadline := began.Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
				a, b := others[0].Mode(), others[1].Mode()
				if a != "" && b != "" && (a == "leader" || b == "leader") {
					break
				}
			}
			away <- time.Since(began)
		}()
		for time.Since(began) < long && e.leader() != nil {
			time.Sleep(5 * time.Millisecond)
		}
		eventually(t, "somebody leads after the kill", func() bool { return e.leader() != nil })
		kept, outage := e.led() == before && e.leader() == leads, <-away
		t.Logf("the server that led was killed, and the ensemble was away for %v; the elector's term was kept: %v", outage.Round(time.Millisecond), kept)
		// Belief lasts for 3.6 s after a renewal, and renewals come each 1.2 s.
		if !kept && outage < long/4 {
			t.Errorf("the term was lost although the deadline allowed to keep it")
		}
		dead.Start()
		eventually(t, "the killed server is a member again", func() bool { return dead.Mode() != "" })
	}
}

// A server is cut off from the quorum and goes on serving reads and pings for
// longer than its clients' sessions last. The elector connected to it must stop
// believing before another leads.
func TestServerCutFromQuorum(t *testing.T) {
	ownServers(t)
	peers := newPeers(t)
	// The cut-off server keeps its clients for 60 ticks, three times their TTL.
	servers := zkserver.StartEnsemble(t, zkserver.Options{Tick: tick, SyncTicks: 60, Peers: peers.between})
	leader, followers := roles(t, servers)
	cut := followers[0]
	e := &election{t: t}
	o := zookeeper.Options{SessionTimeout: ttl, Tick: tick, RootPath: "/cut"}
	a, b := o, o
	a.Servers, b.Servers = []string{cut.Addr}, []string{leader.Addr}
	first := e.join("a", a)
	eventually(t, "a leads", first.IsLeader)
	second := e.join("b", b)
	time.Sleep(ttl) // b follows, and proofs have been gathered

	// What a renewal by reading, or by the library's pings, would see.
	reader, _, err := zk.Connect(a.Servers, 20*time.Second, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reader.Close)
	data, before, err := reader.Get("/cut/g/lock")
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	peers.cut(index(servers, cut))
	eventually(t, "a stops believing", func() bool { return !first.IsLeader() })
	stopped := time.Since(began)
	eventually(t, "b leads", second.IsLeader)
	taken := time.Since(began)
	still, after, err := reader.Get("/cut/g/lock")
	t.Logf("a stopped after %v, b led after %v; the cut-off server says meanwhile: %s, %v", stopped, taken, still, err)
	if err != nil || string(still) != string(data) || after.Czxid != before.Czxid {
		t.Error("the cut-off server does not show the old record any more: the test shows nothing")
	}
	if stopped > taken {
		t.Error("two leaders")
	}
	peers.heal()
	time.Sleep(ttl)
	if !second.IsLeader() || e.led() != 2 {
		t.Errorf("after the cut: %d terms", e.led())
	}
}

// All servers but one are stopped: nobody leads, and afterwards somebody does.
func TestMinority(t *testing.T) {
	ownServers(t)
	servers := zkserver.StartEnsemble(t, zkserver.Options{Tick: tick, SyncTicks: 60})
	_, followers := roles(t, servers)
	e := &election{t: t}
	o := zookeeper.Options{SessionTimeout: ttl, Tick: tick, RootPath: "/minority", Servers: []string{followers[0].Addr}}
	e.join("a", o)
	e.join("b", o)
	eventually(t, "somebody leads", func() bool { return e.leader() != nil })
	for _, s := range servers {
		if s != followers[0] {
			s.Stop()
			defer s.Cont()
		}
	}
	eventually(t, "nobody leads", func() bool { return e.leader() == nil })
	before := e.led()
	time.Sleep(ttl)
	if e.led() != before {
		t.Error("somebody began to lead without a quorum")
	}
	for _, s := range servers {
		if s != followers[0] {
			s.Cont()
		}
	}
	eventually(t, "somebody leads again", func() bool { return e.leader() != nil })
}

// The links between servers stall, break and come back at random while electors
// on all servers compete.
func TestChaosBetweenServers(t *testing.T) {
	ownServers(t)
	peers := newPeers(t)
	servers := zkserver.StartEnsemble(t, zkserver.Options{Tick: tick, SyncTicks: 30, Peers: peers.between})
	e := &election{t: t}
	for i, s := range servers {
		e.join(fmt.Sprint("e", i), zookeeper.Options{SessionTimeout: ttl, Tick: tick, RootPath: "/chaos", Servers: []string{s.Addr}})
	}
	eventually(t, "somebody leads", func() bool { return e.leader() != nil })
	length := 20 * time.Second
	if testing.Short() {
		length = 5 * time.Second
	}
	for began := time.Now(); time.Since(began) < length; {
		victim := rand.IntN(len(servers))
		switch rand.IntN(3) {
		case 0:
			peers.cut(victim)
		case 1:
			peers.stall(victim)
		case 2:
			servers[victim].Stop()
		}
		time.Sleep(rand.N(2 * ttl))
		servers[victim].Cont()
		peers.heal()
		time.Sleep(rand.N(ttl / 2))
	}
	// Whether the servers find together again is theirs to answer for. A server that
	// takes no writes of a client that knows nothing of us is started again.
	for i, s := range servers {
		for began := time.Now(); !serves(s); time.Sleep(100 * time.Millisecond) {
			if time.Since(began) > 30*time.Second {
				t.Logf("server %d takes no writes long after its links were mended: started again", i)
				s.Restart()
				began = time.Now()
			}
		}
	}
	healed := time.Now()
	for e.leader() == nil && time.Since(healed) < patience {
		time.Sleep(2 * time.Millisecond)
	}
	if e.leader() == nil {
		for _, el := range e.all {
			t.Errorf("nobody leads although all servers take writes: %+v", el.Status())
		}
	}
	t.Logf("%d terms", e.led())
}

// serves reports whether a client of s can write now.
func serves(s *zkserver.Server) bool {
	c, _, err := zk.Connect([]string{s.Addr}, 5*time.Second, zk.WithLogInfo(false))
	if err != nil {
		return false
	}
	defer c.Close()
	written := make(chan error, 1)
	go func() {
		_, err := c.Create(fmt.Sprintf("/probe%d", roots.Add(1)), nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
		written <- err
	}()
	select {
	case err := <-written:
		return err == nil
	case <-time.After(3 * time.Second):
		return false
	}
}

func index(servers []*zkserver.Server, s *zkserver.Server) int {
	for i, x := range servers {
		if x == s {
			return i
		}
	}
	return -1
}

// peers are the proxies between the servers of an ensemble.
type peers struct {
	t     *testing.T
	links map[[2]int]*proxy.Proxy
}

func newPeers(t *testing.T) *peers { return &peers{t: t, links: map[[2]int]*proxy.Proxy{}} }

func (p *peers) between(from, to int, addr string) string {
	l := proxy.Start(p.t, addr)
	p.links[[2]int{from, to}] = l
	return l.Addr()
}

func (p *peers) each(server int, do func(*proxy.Proxy)) {
	for k, l := range p.links {
		if k[0] == server || k[1] == server {
			do(l)
		}
	}
}

func (p *peers) cut(server int) {
	p.each(server, func(l *proxy.Proxy) { l.Blackhole(proxy.BothWays) })
}

func (p *peers) stall(server int) {
	d := []proxy.Direction{proxy.ToStore, proxy.ToClient, proxy.BothWays}[rand.IntN(3)]
	p.each(server, func(l *proxy.Proxy) { l.Hold(d) })
}

func (p *peers) heal() {
	for _, l := range p.links {
		l.Restore()
	}
}

// An elector with nothing but a group, on a server with the usual tick.
func TestDefaults(t *testing.T) {
	ownServers(t)
	s := zkserver.Start(t, zkserver.Options{Tick: 2 * time.Second})
	e := &election{t: t}
	el := e.join("a", zookeeper.Options{Servers: []string{s.Addr}})
	eventually(t, "it leads", el.IsLeader)
	o := el.Options()
	t.Logf("TTL %v, margin %v, heartbeat %v, worst case %v", o.HeartbeatTimeout, o.Margin, o.HeartbeatInterval, el.WorstCaseFailover())
	if o.HeartbeatTimeout != 15*time.Second || o.HeartbeatInterval < 2500*time.Millisecond {
		t.Errorf("TTL %v, heartbeat %v", o.HeartbeatTimeout, o.HeartbeatInterval)
	}
	for began := time.Now(); time.Since(began) < 12*time.Second; time.Sleep(10 * time.Millisecond) {
		if !el.IsLeader() {
			t.Fatal("it does not lead any more")
		}
	}
	if e.led() != 1 {
		t.Errorf("%d terms", e.led())
	}
}
