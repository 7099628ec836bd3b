package redis

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/backends/redis/internal/seam"
	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A connection of ours waits for an answer as long as the context of the call
// lets it: giving up earlier would cost a leadership on a slow network. The
// limits here only keep what has no context from hanging for ever.
const (
	ioTimeout   = time.Minute
	dialTimeout = 10 * time.Second
	keepAlive   = 15 * time.Second
)

// poolSize is not how many connections there are: a lane makes one call at a time.
// But after so many failures to connect the SDK's pool refuses everything and tries
// by itself once a second. A server that is back must be used at once.
const poolSize = 500

// lane is a client that makes one call at a time, over one connection (one per
// master of a cluster). A call whose context ends has its connection closed
// under it: the SDK looks at deadlines only, and would wait for the answer.
type lane struct {
	client func() goredis.UniversalClient // made when it is first needed: a new backend makes calls only
	net    *network                       // nil if the client is the user's
	turn   chan struct{}                  // holds a value while a call runs
	once   bool                           // close the connection after each call
}

// newLane makes a lane with a client of its own. It does no I/O.
func newLane(o Options) *lane {
	return laneOf(o, -1)
}

// newOnce makes a lane that opens a connection for each call: whoever hedges
// because a connection hangs wants none that has been idle for long.
func newOnce(o Options) *lane {
	l := laneOf(o, time.Nanosecond)
	l.once = true
	return l
}

func laneOf(o Options, idle time.Duration) *lane {
	n := &network{open: make(map[*conn]struct{}), tls: o.tlsConfig()}
	client := sync.OnceValue(func() goredis.UniversalClient { return newClient(o, n, idle) })
	return &lane{client: client, net: n, turn: make(chan struct{}, 1)}
}

// newClient makes a client that reuses a connection unless it was idle for longer
// than idle.
func newClient(o Options, n *network, idle time.Duration) goredis.UniversalClient {
	return goredis.NewUniversalClient(&goredis.UniversalOptions{
		Addrs:            o.Addrs,
		IsClusterMode:    o.isCluster(),
		MasterName:       o.SentinelMaster,
		DB:               o.Database,
		Username:         o.Username,
		Password:         o.Password,
		SentinelUsername: o.SentinelUsername,
		SentinelPassword: o.SentinelPassword,

		Dialer:                n.dial,
		DialTimeout:           dialTimeout,
		DialerRetries:         1,
		ReadTimeout:           ioTimeout,
		WriteTimeout:          ioTimeout,
		PoolTimeout:           ioTimeout,
		ContextTimeoutEnabled: true,
		ConnMaxIdleTime:       idle,
		PoolSize:              poolSize,
		PipelinePoolSize:      -1,

		// The elector retries, knowing what may have been applied. In a cluster the
		// SDK follows redirections.
		MaxRetries: -1,

		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
}

// do runs one call. It returns an error, without having called f, if the context
// ends before it is this call's turn.
func (l *lane) do(ctx context.Context, f func()) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.run(ctx, f)
	return nil
}

// run has the turn, and gives it back.
func (l *lane) run(ctx context.Context, f func()) {
	defer func() { <-l.turn }()
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		l.net.abort()
		close(aborted)
	})
	f()
	if !stop() {
		<-aborted // it must not hit the next call
	}
	if l.once {
		l.net.abort()
	}
}

func (l *lane) close() error {
	err := l.client().Close() // made, if it was not: none is left that could be made later
	l.net.abort()
	return err
}

func init() {
	seam.SetDialer = func(d driver.Driver, dial seam.Dialer) {
		r := d.(*redisDriver)
		for _, l := range []*lane{r.calls, r.renewals, r.hedge, r.pushes} {
			l.net.dialer = dial
		}
	}
	seam.SetPlain = func(d driver.Driver) { d.(*redisDriver).plain.Store(true) }
}

// network makes the connections of a lane and can end them all.
type network struct {
	tls *tls.Config // nil for none

	dialer  seam.Dialer // set by tests
	mu      sync.Mutex
	open    map[*conn]struct{}
	dialing map[*context.CancelFunc]struct{}
}

func (n *network) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	n.mu.Lock()
	if n.dialing == nil {
		n.dialing = make(map[*context.CancelFunc]struct{})
	}
	n.dialing[&cancel] = struct{}{}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.dialing, &cancel)
		n.mu.Unlock()
	}()

	connect := n.dialer
	if connect == nil {
		connect = (&net.Dialer{KeepAlive: keepAlive}).DialContext
	}
	c, err := connect(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	sys, isSys := c.(syscall.Conn)
	if n.tls != nil {
		cfg := n.tls
		if cfg.ServerName == "" {
			cfg = cfg.Clone()
			cfg.ServerName, _, _ = net.SplitHostPort(addr)
		}
		t := tls.Client(c, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, err
		}
		c, isSys = t, false
	}
	own := &conn{Conn: c, n: n}
	n.mu.Lock()
	n.open[own] = struct{}{}
	n.mu.Unlock()
	if isSys {
		return &systemConn{own, sys}, nil
	}
	return own, nil
}

// abort closes all connections and gives up those being made.
func (n *network) abort() {
	n.mu.Lock()
	var all []*conn
	for c := range n.open {
		all = append(all, c)
	}
	for cancel := range n.dialing {
		(*cancel)()
	}
	n.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// conn tells its network when it is closed.
type conn struct {
	net.Conn
	n *network
}

func (c *conn) Close() error {
	c.n.mu.Lock()
	delete(c.n.open, c)
	c.n.mu.Unlock()
	return c.Conn.Close()
}

// systemConn is conn with the SyscallConn of plain TCP, by which the SDK sees that
// the server has closed an idle connection.
type systemConn struct {
	*conn
	sys syscall.Conn
}

func (c *systemConn) SyscallConn() (syscall.RawConn, error) { return c.sys.SyscallConn() }
