package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// store is the driver.
type store struct {
	o       Options // with its defaults
	table   string  // quoted
	channel string
	sql     statements

	// Calls and renewals have connections of their own, so that none waits for the
	// other. Both are the user's pool if there is one.
	calls, renewals *pgxpool.Pool
	owned           bool
	mode            pgx.QueryExecMode // of own connections, where the session is ours

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	closed atomic.Bool

	pooled atomic.Bool   // the connections lead to a pooler
	ready  atomic.Bool   // it is known whether they do, if that has to be known beforehand
	setup  chan struct{} // holds one while somebody looks

	mu  sync.Mutex
	sub *subscription
}

// newDriver makes a driver with connections of its own. It does no I/O.
func newDriver(o Options) (driver.Driver, error) {
	s := newStore(o)
	var err error
	if s.calls, err = s.pool(); err != nil {
		return nil, err
	}
	if s.renewals, err = s.pool(); err != nil {
		s.calls.Close()
		return nil, err
	}
	s.owned = true
	return s.driver(), nil
}

// driver is s, or what is left of it if nobody is to listen: a driver that cannot
// push must not look as if it could.
func (s *store) driver() driver.Driver {
	if s.o.Notify != NotifyOff {
		return s
	}
	return struct {
		driver.Driver
		driver.BatchAcquirer
		driver.BatchReader
		driver.Pinger
	}{s, s, s, s}
}

// FromPool returns a backend over a pool of the user's, which it does not close.
// Stop the electors, or close the backend, before the pool. The options say
// nothing about the connection then.
//
// The electors need up to three connections at a time and one for LISTEN, which
// is taken out of the pool.
func FromPool(pool *pgxpool.Pool, o Options) (*multilock.Backend, error) {
	if pool == nil {
		return nil, invalid("pool", "", "must not be nil")
	}
	o, err := o.forClient()
	if err != nil {
		return nil, err
	}
	s := newStore(o)
	s.calls, s.renewals = pool, pool
	i := info(o)
	i.Target = target(pool.Config().ConnConfig, o)
	i.Connections = 0 // the pool decides
	b, err := multilock.NewBackend(s.driver(), i)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return b, nil
}

func newStore(o Options) *store {
	s := &store{o: o, table: pgx.Identifier{o.Schema, o.Table}.Sanitize(), channel: channel(o.Schema, o.Table), setup: make(chan struct{}, 1)}
	s.sql = newStatements(s.table)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// channel is where the resignations of a table are notified. Names of channels
// are short, and all participants must come to the same one.
func channel(schema, table string) string {
	sum := sha256.Sum256([]byte(schema + "\x00" + table))
	return "multilock_" + hex.EncodeToString(sum[:12])
}

// fromURL takes what is left of the URL as pgx understands it.
func (o *Options) fromURL(u *url.URL) error {
	o.ConnString = u.String()
	return nil
}

// validate holds the rule that a pattern cannot: PostgreSQL cuts longer names
// short, and two tables would be one.
func (o Options) validate(bool) error {
	var faults []error
	for _, name := range []struct{ field, value string }{{"Schema", o.Schema}, {"Table", o.Table}} {
		if len(name.value) > 63 {
			faults = append(faults, invalid("postgres.Options."+name.field, quote(name.value), "must be 1 to 63 bytes"))
		}
	}
	return errors.Join(faults...)
}

// adjustInfo says where the store is, and that nothing is pushed if nobody is to
// listen.
func adjustInfo(o Options, i *driver.Info) {
	if o.Notify == NotifyOff {
		i.PushOnResign = false
		i.Connections--
	}
	if c, err := pgx.ParseConfig(o.ConnString); o.ConnString != "" && err == nil {
		i.Target = target(c, o)
	}
}

func target(c *pgx.ConnConfig, o Options) string {
	return fmt.Sprintf("%s/%s %s.%s", net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), c.Database, o.Schema, o.Table)
}

// Ping implements driver.Pinger: it reads the table.
func (s *store) Ping(ctx context.Context) error {
	_, err := s.Leader(ctx, "multilock-ping")
	if errors.Is(err, driver.ErrNoLeader) {
		return nil
	}
	return err
}

// closePatience bounds how long Close waits for connections. One that was cut off
// in the middle of a call is given up by pgx in the background, which may take
// longer.
const closePatience = time.Second

// Close implements driver.Driver. Terms live on until they expire.
func (s *store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.cancel()
	s.mu.Lock()
	sub := s.sub
	s.mu.Unlock()
	if sub != nil {
		_ = sub.Close() // never fails
	}
	if !s.owned {
		return nil
	}
	var closing sync.WaitGroup
	closing.Go(s.renewals.Close)
	closing.Go(s.calls.Close)
	done := make(chan struct{})
	go func() {
		closing.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(closePatience):
	}
	return nil
}

// pool makes one of the two pools of a driver with connections of its own.
func (s *store) pool() (*pgxpool.Pool, error) {
	c, err := pgxpool.ParseConfig(s.o.ConnString)
	if err != nil {
		// The error of pgx quotes the string, with a best effort to leave out the
		// password.
		return nil, invalid("postgres.Options.ConnString", "", "must be a URL or keyword string that pgx understands")
	}
	// Core has one call at a time, or a renewal and a hedge. What goes beyond
	// replaces connections that were cut off: pgx gives each up in its own time, up
	// to CommandTimeout while it is being made, and until then it counts.
	c.MaxConns = 256
	c.MinConns, c.MinIdleConns = 0, 0
	c.MaxConnIdleTime = max(c.MaxConnIdleTime, 5*time.Minute)
	// A ping would double the requests of a heartbeat; a dead connection shows by
	// the request itself, which is repeated.
	c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	c.ConnConfig.ConnectTimeout = s.connectTimeout(c.ConnConfig.ConnectTimeout)
	if _, ok := c.ConnConfig.RuntimeParams["application_name"]; !ok {
		c.ConnConfig.RuntimeParams["application_name"] = "multilock"
	}
	if len(c.ConnConfig.Fallbacks) > 0 && c.ConnConfig.ValidateConnect == nil {
		// Of several hosts only the primary is of use. A single one needs no question:
		// it shows by the first write.
		c.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	// The first statement on a connection depends on no session and is one round
	// trip: nothing is known yet about what is behind it.
	if s.mode = c.ConnConfig.DefaultQueryExecMode; s.mode != pgx.QueryExecModeSimpleProtocol {
		c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	return pgxpool.NewWithConfig(context.Background(), c)
}

func (s *store) connectTimeout(configured time.Duration) time.Duration {
	if configured <= 0 {
		return s.o.CommandTimeout
	}
	return min(configured, s.o.CommandTimeout)
}
