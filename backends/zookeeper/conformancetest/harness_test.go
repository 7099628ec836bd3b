package conformancetest

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/backends/zookeeper"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// full is what the driver implements.
type full interface {
	driver.Driver
	driver.Watcher
	driver.BatchReader
	driver.Pinger
}

// clientDriver is a driver over a client of the test's own, which it closes too.
type clientDriver struct {
	full
	conn *zk.Conn
	once sync.Once
}

func (d *clientDriver) Close() error {
	err := d.full.Close()
	d.end()
	return err
}

func (d *clientDriver) end() { d.once.Do(d.conn.Close) }

// countingConn counts what the library writes: each write is a request or a ping.
type countingConn struct {
	net.Conn
	n *atomic.Int64
}

func (c countingConn) Write(b []byte) (int, error) {
	c.n.Add(1)
	return c.Conn.Write(b)
}

// newHarness gives clients of two kinds: NewDriver ones have a *zk.Conn of the
// application, NewLinked ones and child processes one of the backend's own.
func newHarness(tb conformance.TB) conformance.Harness {
	root := fmt.Sprintf("/kit%d-%d", run, roots.Add(1))
	options := zookeeper.Options{Servers: addrs(), RootPath: root, SessionTimeout: ttl, Tick: tick}
	operator := func(tb conformance.TB, do func(c *zk.Conn) error) {
		tb.Helper()
		c, _, err := zk.Connect(options.Servers, 10*time.Second, zk.WithLogInfo(false))
		if err == nil {
			err = do(c)
			c.Close()
		}
		if err != nil {
			tb.Fatalf("operator: %v", err)
		}
	}
	var requests atomic.Int64

	h := conformance.Harness{
		Name: "zookeeper",
		TTL:  ttl,
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) {
			tb.Helper()
			h := zookeeper.NewHook(func(network, address string, timeout time.Duration) (net.Conn, error) {
				c, err := net.DialTimeout(network, address, timeout)
				if err != nil {
					return nil, err
				}
				return countingConn{c, &requests}, nil
			}, nil)
			conn, _, err := zk.Connect(options.Servers, ttl, zk.WithDialer(h.Dial), zk.WithEventCallback(h.Event), zk.WithLogInfo(false))
			if err != nil {
				tb.Fatalf("connect: %v", err)
			}
			o := options
			o.Servers = nil
			b, err := zookeeper.FromConn(conn, h, o)
			if err != nil {
				tb.Fatalf("FromConn: %v", err)
			}
			return &clientDriver{full: b.Driver().(full), conn: conn}, b.Info()
		},
		NewLinked: func(tb conformance.TB) (driver.Driver, driver.Info, conformance.Link) {
			tb.Helper()
			p := proxy.Start(tb, options.Servers[0])
			o := options
			o.Servers = []string{p.Addr()}
			d, info, err := zookeeper.NewDriver(o)
			if err != nil {
				tb.Fatalf("NewDriver: %v", err)
			}
			return d, info, link{p}
		},
		RemoveRecord: func(tb conformance.TB, group string) {
			tb.Helper()
			operator(tb, func(c *zk.Conn) error {
				// Not one transaction: there may be no lock node.
				if err := c.Delete(root+"/"+group+"/lock", -1); err != nil && err != zk.ErrNoNode {
					return err
				}
				if err := c.Delete(root+"/"+group, -1); err != nil && err != zk.ErrNoNode && err != zk.ErrNotEmpty {
					return err
				}
				return nil
			})
		},
		CorruptRecord: func(tb conformance.TB, group string) {
			tb.Helper()
			operator(tb, func(c *zk.Conn) error {
				_, err := c.Set(root+"/"+group+"/lock", []byte(`{"leader":"somebody else's"}`), -1)
				return err
			})
		},
		EndSession: func(tb conformance.TB, d driver.Driver) {
			tb.Helper()
			c, ok := d.(*clientDriver)
			if !ok {
				tb.Fatalf("EndSession of a %T", d)
			}
			c.end()
		},
		URL:      "zookeeper://" + strings.Join(options.Servers, ",") + root + "?" + url.Values{"multilock.session_timeout": {ttl.String()}, "multilock.tick": {tick.String()}}.Encode(),
		Requests: requests.Load,
		Checker:  porcupinecheck.Checker{},
		// The server that Restart has started is waited for until it ends.
		IgnoreGoroutines: []string{"testservers/proc."},
		Missing: map[conformance.Power]string{
			conformance.PowerLock:        "ZooKeeper has no locks that a user could hold on a node",
			conformance.PowerToken:       "tokens are transaction ids, which nobody can set",
			conformance.PowerAge:         "the server alone writes the times of nodes, and no decision hangs on them",
			conformance.PowerStepClock:   "sessions are timed by a clock that cannot be stepped",
			conformance.PowerLoseData:    "transaction ids begin again in an ensemble without its data; the documentation says so",
			conformance.PowerSnapshot:    "a restored ensemble has its old transaction ids; the documentation says so",
			conformance.PowerManualClock: "a real server's clock cannot be stopped",
		},
	}
	if elsewhere != nil {
		h.Missing[conformance.PowerRestart] = "the server is not ours"
	} else {
		h.Restart = func(tb conformance.TB) {
			tb.Helper()
			server().Restart()
		}
	}
	return h
}

// link adapts a proxy to the kit.
type link struct{ p *proxy.Proxy }

func (l link) Cut()                              { l.p.Cut() }
func (l link) Blackhole(d conformance.Direction) { l.p.Blackhole(proxy.Direction(d)) }
func (l link) Stall(n int) bool                  { return l.p.Stall(n) }
func (l link) Reset()                            { l.p.Reset() }
func (l link) Latency(d time.Duration)           { l.p.Latency(d) }
func (l link) Restore()                          { l.p.Restore() }
