// Package proxy is a faulty network for one TCP server: a proxy on a loopback
// port that cuts, blackholes, holds, delays, stalls and resets connections and
// tells which are open and what went through them.
//
// It is written here rather than taken from a library because the tests need
// what the known ones lack: one connection among many silenced while the others
// work, and the list of open connections, which the budgets are checked with.
package proxy

import (
	"cmp"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
)

// Direction is one half of a connection.
type Direction int

// The two directions, and both.
const (
	ToStore Direction = 1 << iota
	ToClient
	BothWays = ToStore | ToClient
)

// Proxy forwards connections to one server. Its methods may be called from any
// goroutine.
type Proxy struct {
	addr string

	mu       sync.Mutex
	target   string
	listener net.Listener // nil while cut
	conns    map[*conn]bool
	accepted int
	latency  time.Duration
	swallow  Direction // bytes in it vanish
	hold     Direction // bytes in it wait
	changed  chan struct{}
	closed   bool
	wg       sync.WaitGroup
}

// Conn tells about one connection.
type Conn struct {
	// Number counts the connections accepted, from 0.
	Number int
	Opened time.Time
	// Client is the address of the client's end.
	Client string
	// ToStore and ToClient are the bytes passed on.
	ToStore, ToClient int64
}

// Start begins to forward to target, an address such as 127.0.0.1:6379, until
// the test ends. The target need not answer yet.
func Start(tb proc.TB, target string) *Proxy {
	tb.Helper()
	p := &Proxy{
		addr:    proc.Addr(proc.FreePort(tb)),
		target:  target,
		conns:   make(map[*conn]bool),
		changed: make(chan struct{}),
	}
	p.mu.Lock()
	err := p.listen()
	p.mu.Unlock()
	if err != nil {
		tb.Fatalf("proxy: %v", err)
	}
	tb.Cleanup(p.Close)
	return p
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.addr }

// SetTarget changes where new connections go.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Cut closes all connections and refuses new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	p.resetLocked()
}

// Blackhole keeps connections open and accepts new ones, but bytes in the given
// direction vanish, and the end of a connection is not told in it. At Restore a
// connection that lost bytes is reset: no network delivers a stream with a hole.
func (p *Proxy) Blackhole(d Direction) { p.set(func() { p.swallow |= d }) }

// Hold lets bytes in the given direction wait until Restore or Cut, as during
// an outage that is shorter than the peers' patience.
func (p *Proxy) Hold(d Direction) { p.set(func() { p.hold |= d }) }

// Latency delays every byte, in each direction.
func (p *Proxy) Latency(d time.Duration) { p.set(func() { p.latency = d }) }

// Stall silences, both ways, the open connection number n, the oldest being 0,
// and leaves all others alone. It reports whether there is such a connection.
func (p *Proxy) Stall(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.openLocked()
	if n < 0 || n >= len(open) {
		return false
	}
	open[n].stalled = true
	p.tellLocked()
	return true
}

// Reset closes all connections at once, as a rebooted router does; new ones
// work.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resetLocked()
}

// Restore undoes Cut, Blackhole, Hold, Latency and Stall.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latency, p.swallow, p.hold = 0, 0, 0
	for c := range p.conns {
		if c.stalled || c.lost {
			c.reset()
		}
	}
	p.tellLocked()
	if p.listener != nil || p.closed {
		return
	}
	// The port is outside the range of outgoing connections, so it is still free
	// but for another test's server that was given it in this very moment.
	var err error
	for range 100 {
		if err = p.listen(); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	panic("proxy: cannot listen again: " + err.Error())
}

// Open lists the open connections, the oldest first.
func (p *Proxy) Open() []Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []Conn
	for _, c := range p.openLocked() {
		list = append(list, c.info)
	}
	return list
}

// Accepted is how many connections clients have opened so far.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Close ends the proxy; Start has arranged for it.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
	p.resetLocked()
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.tellLocked()
}

// tellLocked wakes everybody who waits for another rule.
func (p *Proxy) tellLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) openLocked() []*conn {
	open := make([]*conn, 0, len(p.conns))
	for c := range p.conns {
		if !c.gone {
			open = append(open, c)
		}
	}
	slices.SortFunc(open, func(a, b *conn) int { return cmp.Compare(a.info.Number, b.info.Number) })
	return open
}

func (p *Proxy) resetLocked() {
	for c := range p.conns {
		c.reset()
	}
	p.tellLocked()
}

// listen is called with mu held.
func (p *Proxy) listen() error {
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	p.listener = l
	p.wg.Go(func() { p.accept(l) })
	return nil
}

func (p *Proxy) accept(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.listener != l {
			p.mu.Unlock()
			abort(client)
			return
		}
		c := &conn{p: p, client: client, info: Conn{
			Number: p.accepted,
			Opened: time.Now(),
			Client: client.RemoteAddr().String(),
		}}
		p.accepted++
		p.conns[c] = true
		target := p.target
		p.mu.Unlock()
		p.wg.Go(func() { c.run(target) })
	}
}
