package sqlserver

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	mssql "github.com/microsoft/go-mssqldb"
	"github.com/microsoft/go-mssqldb/msdsn"
)

// steadyConns are the connections kept besides the doorbells: calls, renewals.
const steadyConns = 2

// sparePoolConns is what the pool may open besides the doorbells: a call, a
// renewal and its hedge, a batched read, and four calls that were given up while
// the server does not answer.
const sparePoolConns = 8

// openPool makes a pool of our own. It dials only when a connection is needed.
func openPool(o Options) (*sql.DB, *dialer, error) {
	config, err := msdsn.Parse(o.ConnString)
	if err != nil {
		return nil, nil, errors.New("sqlserver: the connection string cannot be read") // the cause may quote a password
	}
	if config.Parameters["app name"] == "" {
		config.AppName = "multilock"
	}
	own := &dialer{net: net.Dialer{KeepAlive: config.KeepAlive}, open: make(map[*trackedConn]struct{})}
	inner := mssql.NewConnectorConfig(config)
	inner.Dialer = own
	db := sql.OpenDB(&connector{inner: inner, dialer: own})
	db.SetMaxOpenConns(max(o.MaxDoorbells, 0) + sparePoolConns)
	db.SetMaxIdleConns(steadyConns)
	return db, own, nil
}

// connector bounds the login by the context, which the SQL driver does for the
// dialling only, and remembers the socket below each connection.
type connector struct {
	inner  *mssql.Connector
	dialer *dialer
}

type loginKey struct{}

// login collects the sockets dialled for one connection; the last one counts,
// since a server may redirect the client.
type login struct {
	mu   sync.Mutex
	conn *trackedConn
	cut  bool
}

// Driver implements driver.Connector.
func (c *connector) Driver() sqldriver.Driver { return c.inner.Driver() }

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (sqldriver.Conn, error) {
	l := &login{}
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.cut = true
		if l.conn != nil {
			l.conn.Close()
		}
	})
	defer stop()
	conn, err := c.inner.Connect(context.WithValue(ctx, loginKey{}, l))
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return &poolConn{Conn: conn.(*mssql.Conn), socket: l.conn}, nil
}

// poolConn is a connection of the SQL driver with the socket below it.
type poolConn struct {
	*mssql.Conn
	socket *trackedConn
}

// dialer dials for a pool of ours and can cut its connections, which ends
// requests that the server does not answer.
type dialer struct {
	net    net.Dialer
	broken func() // called when a connection turns out to be broken
	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	shut   bool
}

type trackedConn struct {
	net.Conn
	d *dialer
}

// DialContext implements mssql.Dialer.
func (d *dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := d.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &trackedConn{Conn: raw, d: d}
	d.mu.Lock()
	if d.shut {
		d.mu.Unlock()
		raw.Close()
		return nil, net.ErrClosed
	}
	d.open[c] = struct{}{}
	d.mu.Unlock()
	if l, ok := ctx.Value(loginKey{}).(*login); ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.conn = c
		if l.cut {
			c.Close()
		}
	}
	return c, nil
}

// Read implements net.Conn.
func (c *trackedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.check(err)
	return n, err
}

// Write implements net.Conn.
func (c *trackedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.check(err)
	return n, err
}

// check notes a failure that is not our own doing. database/sql hides some of
// them by trying again on another connection.
func (c *trackedConn) check(err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) && c.d.broken != nil {
		c.d.broken()
	}
}

// Close implements net.Conn. A connection that was cut already is no failure.
func (c *trackedConn) Close() error {
	c.d.mu.Lock()
	_, open := c.d.open[c]
	delete(c.d.open, c)
	c.d.mu.Unlock()
	if !open {
		return nil
	}
	return c.Conn.Close()
}

// closeAll cuts every connection and refuses new ones.
func (d *dialer) closeAll() {
	d.mu.Lock()
	d.shut = true
	conns := slices.Collect(maps.Keys(d.open))
	d.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

// cutWhenOver cuts the socket below conn if its request is still not over some
// time after ctx has ended: the SQL driver asks the server to stop and waits up
// to ten seconds for the confirmation. The function returned ends the watch. A
// connection of somebody else's pool is left alone.
func cutWhenOver(ctx context.Context, conn *sql.Conn) (stop func()) {
	var socket *trackedConn
	_ = conn.Raw(func(c any) error {
		if p, ok := c.(*poolConn); ok {
			socket = p.socket
		}
		return nil
	})
	if socket == nil {
		return func() {}
	}
	over := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		t := time.NewTimer(cancelPatience)
		defer t.Stop()
		select {
		case <-over:
		case <-t.C:
			socket.Close()
		}
	})
	return func() {
		unwatch()
		close(over)
	}
}
