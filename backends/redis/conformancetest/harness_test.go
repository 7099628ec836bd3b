package conformancetest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/backends/redis/internal/seam"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
	server "github.com/multilock/multilock-go/testservers/redis"
)

// kitOptions: what is acknowledged survives a restart, and the clock can be set.
var kitOptions = server.Options{Persist: true, Faketime: true}

var kitServer = sync.OnceValue(func() *server.Server { return start(scope, kitOptions) })

var kitCluster = sync.OnceValue(func() *server.Cluster {
	c := server.StartCluster(scope, 3, kitOptions)
	for _, s := range c.Servers {
		grown(s)
	}
	return c
})

// newHarness is one server that persists.
func newHarness(tb conformance.TB) conformance.Harness {
	s := kitServer()
	n := newNamespace(s)
	h := n.harness("redis", redis.Options{Addrs: []string{s.Addr}})
	h.URL = s.URL() + "?multilock.grace=1ms&multilock.key_prefix=" + n.prefix
	return h
}

// newClusterHarness is a cluster of three masters.
func newClusterHarness(tb conformance.TB) conformance.Harness {
	c := kitCluster()
	n := newNamespace(c.Servers...)
	n.owner = c.Owner
	h := n.harness("redis cluster", redis.Options{Addrs: c.Addrs()})
	h.URL = c.Servers[0].URL() + "?multilock.cluster=true&multilock.grace=1ms&multilock.key_prefix=" + n.prefix
	return h
}

// namespace is a key prefix on some servers.
type namespace struct {
	prefix   string
	servers  []*server.Server
	owner    func(key string) *server.Server
	requests atomic.Int64
}

var namespaces atomic.Int64

func newNamespace(servers ...*server.Server) *namespace {
	return &namespace{
		prefix:  fmt.Sprintf("kit-%d-%d", time.Now().UnixNano(), namespaces.Add(1)),
		servers: servers,
		owner:   func(string) *server.Server { return servers[0] },
	}
}

func (n *namespace) key(group string) string { return n.prefix + ":{" + group + "}" }

// do sends a command about a group to the server that has it.
func (n *namespace) do(command, group string, args ...string) string {
	return n.owner(n.key(group)).Do(append([]string{command, n.key(group)}, args...)...)
}

func (n *namespace) harness(name string, o redis.Options) conformance.Harness {
	o.KeyPrefix, o.Grace = n.prefix, shortGrace
	open := func(tb conformance.TB, dial seam.Dialer) (driver.Driver, driver.Info) {
		tb.Helper()
		d, info, err := redis.NewDriver(o)
		if err != nil {
			tb.Fatalf("open: %v", err)
		}
		seam.SetDialer(d, n.counting(dial))
		return d, info
	}
	direct := new(net.Dialer).DialContext
	return conformance.Harness{
		Name: name,
		TTL:  2 * time.Second,
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) {
			return open(tb, direct)
		},
		NewLinked: func(tb conformance.TB) (driver.Driver, driver.Info, conformance.Link) {
			l := &link{}
			by := make(map[string]*proxy.Proxy)
			for _, s := range n.servers {
				by[s.Addr] = proxy.Start(tb, s.Addr)
				l.proxies = append(l.proxies, by[s.Addr])
			}
			d, info := open(tb, func(ctx context.Context, network, addr string) (net.Conn, error) {
				if p := by[addr]; p != nil {
					addr = p.Addr()
				}
				return direct(ctx, network, addr)
			})
			return d, info, l
		},
		RemoveRecord: func(_ conformance.TB, group string) { n.do("DEL", group) },
		CorruptRecord: func(_ conformance.TB, group string) {
			n.do("DEL", group)
			n.do("SET", group, `{"LeaderId":"somebody else's"}`)
		},
		SetToken: func(_ conformance.TB, group string, token uint64) {
			n.do("HSET", group, "token", strconv.FormatUint(token, 10))
		},
		Age: func(tb conformance.TB, group string, d time.Duration) {
			for _, field := range []string{"expiry", "since"} {
				at, err := strconv.ParseInt(n.do("HGET", group, field), 10, 64)
				if err != nil {
					tb.Fatalf("harness: %s of %s: %v", field, group, err)
				}
				n.do("HSET", group, field, strconv.FormatInt(max(at-d.Microseconds(), 0), 10))
			}
		},
		StepClock: func(tb conformance.TB, d time.Duration) {
			for _, s := range n.servers {
				s.StepClock(d)
			}
			tb.Cleanup(n.runClocks)
		},
		ManualClock: func(tb conformance.TB) (func(time.Duration), time.Duration) {
			for _, s := range n.servers {
				s.FreezeClock()
			}
			tb.Cleanup(n.runClocks)
			return func(d time.Duration) {
				for _, s := range n.servers {
					s.AdvanceClock(d)
				}
			}, time.Microsecond
		},
		Restart: func(conformance.TB) {
			for _, s := range n.servers {
				s.Kill()
			}
			for _, s := range n.servers {
				s.Start()
			}
			for _, s := range n.servers {
				s.WaitServing()
				grown(s)
			}
		},
		LoseData: func(conformance.TB) {
			for _, s := range n.servers {
				s.Do("FLUSHALL")
			}
		},
		Snapshot: func(conformance.TB) func(conformance.TB) {
			var restores []func()
			for _, s := range n.servers {
				restores = append(restores, n.snapshot(s))
			}
			return func(conformance.TB) {
				for _, f := range restores {
					f()
				}
			}
		},
		Requests: n.requests.Load,
		// The one that waits for a server that a rule has restarted.
		IgnoreGoroutines: []string{"testservers/proc.(*Process)"},
		Missing: map[conformance.Power]string{
			conformance.PowerLock:    "no lock on a record exists; a server that hangs is a stalled link",
			conformance.PowerSession: "no term hangs on a session or connection",
			conformance.PowerChecker: "the module of the linearizability checker is not required here",
		},
	}
}

func (n *namespace) runClocks() {
	for _, s := range n.servers {
		s.RunClock()
	}
}

// snapshot copies the keys of the namespace and returns what puts them back.
func (n *namespace) snapshot(s *server.Server) (restore func()) {
	keys := func() []string {
		return strings.Fields(s.Do("KEYS", n.prefix+":*"))
	}
	saved := make(map[string]string)
	for _, k := range keys() {
		saved[k] = s.Do("DUMP", k)
	}
	return func() {
		for _, k := range keys() {
			s.Do("DEL", k)
		}
		for k, v := range saved {
			s.Do("RESTORE", k, "0", v)
		}
	}
}

// counting counts writes: a pipeline is one.
func (n *namespace) counting(dial seam.Dialer) seam.Dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &counted{c.(*net.TCPConn), &n.requests}, nil
	}
}

type counted struct {
	*net.TCPConn
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.n.Add(1)
	return c.TCPConn.Write(p)
}

// link is the network of one client: one proxy before each server.
type link struct{ proxies []*proxy.Proxy }

func (l *link) each(f func(*proxy.Proxy)) {
	for _, p := range l.proxies {
		f(p)
	}
}

func (l *link) Cut()                    { l.each((*proxy.Proxy).Cut) }
func (l *link) Reset()                  { l.each((*proxy.Proxy).Reset) }
func (l *link) Restore()                { l.each((*proxy.Proxy).Restore) }
func (l *link) Latency(d time.Duration) { l.each(func(p *proxy.Proxy) { p.Latency(d) }) }
func (l *link) Blackhole(d conformance.Direction) {
	l.each(func(p *proxy.Proxy) { p.Blackhole(proxy.Direction(d)) })
}

// Stall silences connection number n of all, by age.
func (l *link) Stall(n int) bool {
	type place struct {
		p      *proxy.Proxy
		n      int
		opened time.Time
	}
	var all []place
	for _, p := range l.proxies {
		for i, c := range p.Open() {
			all = append(all, place{p, i, c.Opened})
		}
	}
	slices.SortFunc(all, func(a, b place) int { return a.opened.Compare(b.opened) })
	return n < len(all) && all[n].p.Stall(all[n].n)
}
