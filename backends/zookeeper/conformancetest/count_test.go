package conformancetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/backends/zookeeper"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// operations are the requests a client has sent, by kind.
type operations struct {
	mu sync.Mutex
	n  map[int32]int
}

// Kinds of requests, as ZooKeeper numbers them.
const (
	opExists  = 3
	opGetData = 4
	opSetData = 5
	opSync    = 9
	opPing    = 11
)

// watchedForGood is a node that each session watches, once, half a second after it
// was opened, whatever a test counts then.
var watchedForGood = []byte("/@watch")

type watchedConn struct {
	net.Conn
	o *operations
}

func (c watchedConn) Write(b []byte) (int, error) {
	if len(b) >= 12 && !bytes.Contains(b, watchedForGood) {
		c.o.mu.Lock()
		c.o.n[int32(binary.BigEndian.Uint32(b[8:]))]++
		c.o.mu.Unlock()
	}
	return c.Conn.Write(b)
}

func (o *operations) dial(network, address string, timeout time.Duration) (net.Conn, error) {
	c, err := net.DialTimeout(network, address, timeout)
	return watchedConn{c, o}, err
}

func newOperations() *operations { return &operations{n: make(map[int32]int)} }

// take returns what was sent since the last time.
func (o *operations) take() map[int32]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := maps.Clone(o.n)
	clear(o.n)
	return was
}

// A heartbeat is one write for all terms, and they are their own proofs of life.
func TestLeaderRequests(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	o := newOperations()
	a, _ := w.own(o.dial)
	terms := make([]driver.Term, 50)
	for i := range terms {
		terms[i] = a.win(fmt.Sprint("g", i))
	}
	a.renewFor(patience, nil, terms...) // makes the node that is written to, and finds the watches
	a.renewFor(patience, nil, terms...)
	o.take()
	began := time.Now()
	const beats = 10
	for range beats {
		for _, r := range a.renewFor(patience, nil, terms...) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	took := time.Since(began)
	got := o.take()
	t.Logf("%d heartbeats of %d terms in %v: %v", beats, len(terms), took, got)
	if got[opSetData] != beats {
		t.Errorf("%d writes for %d heartbeats", got[opSetData], beats)
	}
	if most := 1 + int(8*took/w.ttl); got[opSync] > most {
		t.Errorf("%d syncs in %v, with a time-out of %v", got[opSync], took, w.ttl)
	}
	delete(got, opSetData)
	delete(got, opSync)
	delete(got, opPing)
	if len(got) > 0 {
		t.Errorf("other requests: %v", got)
	}
}

// An idle follower costs a sync in a little less than half of the time-out, and
// these take the place of the library's pings, which come three times in it.
func TestIdleFollower(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	leader := w.open()
	term := leader.win("g")
	w.ttl = max(2*ttl, 4*tick) // short enough to see many
	o := newOperations()
	b, _ := w.own(o.dial)
	k, sub := b.watch()
	if err := sub.Add(within(patience), "g"); err != nil {
		t.Fatal(err)
	}
	b.held("g")
	o.take()
	began := time.Now()
	for time.Since(began) < 3*w.ttl {
		leader.keeps(term)
		time.Sleep(ttl / 5)
	}
	took := time.Since(began)
	got := o.take()
	t.Logf("an idle follower sent in %v, with a time-out of %v: %v", took, w.ttl, got)
	if most := 1 + int(took*25/12/w.ttl); got[opSync] > most || got[opSync] == 0 {
		t.Errorf("%d syncs in %v, with a time-out of %v", got[opSync], took, w.ttl)
	}
	if got[opPing] > 2 { // a sync that was late because the machine was busy
		t.Errorf("%d pings beside the syncs", got[opPing])
	}
	if got = idle(got); len(got) > 0 {
		t.Errorf("other requests: %v", got)
	}
	if k.woken("g") > 0 {
		t.Error("woken without reason")
	}
}

// A follower that has been idle may have no proof of life at hand that is young
// enough: one sync makes one, over the connection that it has.
func TestIdleFollowerWins(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	w.ttl = max(3*ttl, 4*tick)
	const followers = 8 // each asked at a moment of its own
	var dials, syncs atomic.Int64
	var wg sync.WaitGroup
	other := w.open()
	for i := range followers {
		other.resign(other.win(fmt.Sprint("g", i)))
		o := newOperations()
		b, _ := w.own(func(network, address string, timeout time.Duration) (net.Conn, error) {
			dials.Add(1)
			return o.dial(network, address, timeout)
		})
		wg.Go(func() {
			group := fmt.Sprint("g", i)
			if _, err := b.Leader(within(patience), group); !errors.Is(err, driver.ErrNoLeader) {
				t.Error(err)
			}
			// What it has asked by itself before is 12/25 of the time-out old, or less.
			time.Sleep(w.ttl*24/25 + w.ttl*12/25*time.Duration(i)/followers)
			o.take()
			req := request(group)
			req.TTL = w.ttl
			g, err := b.Acquire(within(patience), req)
			if err != nil || g.Granted < w.ttl/4 || g.Granted > w.ttl-tick {
				t.Errorf("%s: %+v, %v", group, g, err)
			}
			syncs.Add(int64(o.take()[opSync]))
		})
	}
	wg.Wait()
	t.Logf("%d of %d sent a sync before they tried", syncs.Load(), followers)
	if n := dials.Load(); n > followers+1 { // one, for a machine that was busy
		t.Errorf("%d connections for %d followers", n, followers)
	}
	if syncs.Load() == 0 {
		t.Error("all had a proof at hand: the test shows nothing")
	}
}

// What followed and stopped has written nothing and does not ask again, and with
// its backend its session and its watch go.
func TestStoppedFollowerLeavesNoTrace(t *testing.T) {
	t.Parallel()
	ownServers(t)
	w := steadyWorld(t)
	leader := w.open()
	term := leader.win("g")
	leader.keeps(term)
	o := newOperations()
	b, conn := w.counted(o)
	e, err := multilock.New(b, multilock.Options{Group: "g", HeartbeatTimeout: w.ttl})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(within(patience)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows", func() bool { return e.Status().Leader.Nonce == term.Nonce && w.watchers("g") == 2 })
	if err := e.Stop(within(patience)); err != nil {
		t.Fatal(err)
	}
	o.take()
	leader.resign(term)
	time.Sleep(w.ttl / 2) // the time in which nothing may happen
	got := o.take()
	t.Logf("requests after it stopped: %v", got)
	delete(got, opSync)
	delete(got, opPing)
	if len(got) > 0 {
		t.Errorf("a stopped follower has sent %v", got)
	}
	leader.noLeader("g")
	operator := w.conn()
	if left, _, err := operator.Children(w.root + "/g"); err != nil || len(left) > 0 {
		t.Errorf("below the group: %v, %v", left, err)
	}
	if left, _, err := operator.Children(w.root + "/@sessions"); err != nil || len(left) != 1 {
		t.Errorf("nodes of sessions: %v, %v, want the leader's alone", left, err)
	}
	if err := b.Close(within(patience)); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	eventually(t, "its watches go with its session", func() bool { return w.watchers("g") == 0 })
}

// counted opens a backend on a connection of its own, whose requests o counts.
func (w *world) counted(o *operations) (*multilock.Backend, *zk.Conn) {
	w.t.Helper()
	h := zookeeper.NewHook(o.dial, nil)
	conn, _, err := zk.Connect(w.servers, w.ttl, zk.WithDialer(h.Dial), zk.WithEventCallback(h.Event), zk.WithLogInfo(false))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	options := w.options()
	options.Servers = nil
	b, err := zookeeper.FromConn(conn, h, options)
	if err != nil {
		w.t.Fatal(err)
	}
	return b, conn
}

// watchers is how many sessions have a watch on the lock node of group, as the
// server tells.
func (w *world) watchers(group string) int {
	w.t.Helper()
	text, err := server().Ask(within(patience), "wchp")
	if err != nil {
		w.t.Fatal(err)
	}
	n, mine := 0, false
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "/"):
			mine = strings.TrimSpace(line) == w.root+"/"+group+"/lock"
		case mine && strings.Contains(line, "0x"):
			n++
		}
	}
	return n
}

// A look at who leads needs no proof of life: it is one read, however long ago the
// last request was.
func TestLookRequests(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	leader := w.open()
	term := leader.win("g")
	w.ttl = max(2*ttl, 4*tick)
	o := newOperations()
	b, _ := w.own(o.dial)
	b.held("g")
	_, sub := b.watch()
	if err := sub.Add(within(patience), "g"); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		time.Sleep(w.ttl * 45 / 100)
		leader.keeps(term)
		o.take()
		b.held("g")
		got := o.take()
		t.Logf("look %d: %v", i, got)
		if reads := got[opGetData]; reads < 1 || reads > 2 || got[opSync] > 0 {
			t.Errorf("look %d sent %v", i, got)
		}
	}
}
