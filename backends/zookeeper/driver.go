package zookeeper

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// store is the driver: one client with one session for all groups.
type store struct {
	o     Options
	tick  time.Duration
	hook  *Hook
	own   bool // the client is ours
	hosts *hosts
	// rounds is how many dials may fail before a call stops waiting
	rounds int

	base   context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
	hurry  chan struct{} // the pause between syncs has become shorter

	// conn is set once, before any goroutine that uses it, by start.
	conn       *zk.Conn
	authorized chan struct{} // nil without credentials

	mu      sync.Mutex
	closed  bool
	running bool
	authErr error
	proofs  proofs
	claims  map[claimKey]*claim
	leading map[string]*claim // by group: the claim that holds its lock
	watches map[string]*watch // by group
	unset   []unset           // watches that wait for setWatches
	setters int               // goroutines that run it
	sub     *subscription
}

func newDriver(o Options) (driver.Driver, error) {
	limit := min(o.ConnectTimeout, o.SessionTimeout/3)
	s := newStore(o, NewHook(dialer(o, limit), nil))
	s.own = true
	s.hosts = &hosts{}
	s.hook.attach(s, limit, o.Tick)
	return s, nil
}

func newStore(o Options, h *Hook) *store {
	s := &store{
		o: o, tick: o.Tick, hook: h, rounds: max(len(o.Servers), 1),
		hurry:  make(chan struct{}, 1),
		claims: make(map[claimKey]*claim), leading: make(map[string]*claim), watches: make(map[string]*watch),
	}
	s.base, s.cancel = context.WithCancel(context.Background())
	return s
}

// FromConn returns a backend over a client of your own, made with h:
//
//	h := zookeeper.NewHook(nil, nil)
//	conn, _, err := zk.Connect(servers, 15*time.Second, zk.WithDialer(h.Dial), zk.WithEventCallback(h.Event))
//	b, err := zookeeper.FromConn(conn, h, zookeeper.Options{SessionTimeout: 15 * time.Second})
//
// Options.SessionTimeout is the time-out given to zk.Connect. The backend does
// not close conn. Stop electors before you close it: closing it ends the session,
// so that another may lead at once, and this backend learns of it a moment later
// only. Credentials are yours to add, by conn.AddAuth; Options.ACL says for whom
// nodes are created.
func FromConn(conn *zk.Conn, h *Hook, o Options) (*multilock.Backend, error) {
	if conn == nil || h == nil {
		return nil, &multilock.InvalidError{Field: "conn, hook", Allowed: "must not be nil"}
	}
	o, err := o.forClient()
	if err != nil {
		return nil, err
	}
	d, err := fromConn(conn, h, o)
	if err != nil {
		return nil, err
	}
	return multilock.NewBackend(d, info(o))
}

func fromConn(conn *zk.Conn, h *Hook, o Options) (*store, error) {
	s := newStore(o, h)
	s.conn = conn
	s.rounds = 3
	if !h.attach(s, o.SessionTimeout/3, o.Tick) {
		return nil, &multilock.InvalidError{Field: "hook", Allowed: "must not be in use by another backend"}
	}
	return s, nil
}

// adjustInfo declares what follows from session time-out and tick.
func adjustInfo(o Options, i *driver.Info) {
	i.MinTTL, i.MaxTTL = o.SessionTimeout, o.SessionTimeout
	i.Shortening = shortening(o)
	// A touch reaches the leader half a tick late at most, and the leader lets
	// sessions end on the next whole tick.
	i.ExpirySlack = 2 * o.Tick
	if len(o.Servers) == 0 {
		i.Target = "client of the application"
	}
	i.Target += o.RootPath
}

// validate holds the rule between time-out and tick: below it, belief would be
// shorter than a handful of heartbeats.
func (o Options) validate(bool) error {
	if o.SessionTimeout%time.Millisecond != 0 {
		return invalid("zookeeper.Options.SessionTimeout in milliseconds", o.SessionTimeout.String(), "must be a whole number")
	}
	if o.SessionTimeout < 4*o.Tick {
		return invalid("zookeeper.Options.SessionTimeout and Tick", o.SessionTimeout.String()+" and "+o.Tick.String(), "must be so that the time-out is four ticks at least")
	}
	return nil
}

// fromURL takes servers and root: zookeeper://a:2181,b:2181/root/path.
func (o *Options) fromURL(u *url.URL) error {
	if u.User != nil {
		return invalid("zookeeper URL user", "", "must be absent; credentials go into Options.AuthDigest or its environment variable")
	}
	if u.Host != "" {
		o.Servers = splitList(u.Host)
	}
	if p := strings.TrimSuffix(u.Path, "/"); p != "" {
		o.RootPath = p
	}
	return nil
}

// Close ends the session of the store's own client, and with it all that it
// holds. From a client that was given to it, it removes what is left of its
// terms, since nobody would otherwise.
func (s *store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	conn := s.conn
	running := s.running
	sub := s.sub
	s.sub = nil
	var left []*claim
	for _, c := range s.claims {
		c.timer.Stop()
		left = append(left, c)
	}
	s.mu.Unlock()

	if sub != nil {
		sub.stop()
	}
	if !s.own && running {
		s.leave(left)
	}
	s.cancel()
	s.hook.detach()
	if s.own && conn != nil {
		conn.Close()
	}
	s.wg.Wait()
	return nil
}

// leave removes what a session that goes on without us would keep.
func (s *store) leave(left []*claim) {
	l, _, _ := s.hook.look()
	if !l.up {
		return
	}
	ctx, cancel := context.WithTimeout(s.base, min(2*time.Second, s.o.SessionTimeout))
	defer cancel()
	for _, c := range left {
		if c.session == l.session {
			_ = s.remove(ctx, c, false) // best effort: what stays is bounded by the client's session
		}
	}
	_, _ = await(ctx, func() (struct{}, error) {
		return struct{}{}, s.conn.Delete(s.heartbeatPath(l.session), -1)
	})
}
