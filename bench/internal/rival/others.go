package rival

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"cirello.io/pglock"
	"github.com/go-zookeeper/zk"
	"github.com/hashicorp/consul/api"
	_ "github.com/lib/pq" // pglock's driver
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"
)

// pgLockHurry is the lease where Setting.Hurry asks for a short one.
const pgLockHurry = 2 * time.Second

func pgLock() Rival {
	return Rival{
		Library: "pglock", Module: "cirello.io/pglock", Poll: pgLockHurry,
		Note: "its followers try once per lease, so that handovers are measured with one of 2 s, in its favour; heartbeat a quarter of the lease, as by default",
		Connect: func(_ context.Context, s Setting) (Client, error) {
			lease := s.TTL
			if s.Hurry {
				lease = pgLockHurry
			}
			u, err := url.Parse(s.URL)
			if err != nil {
				return nil, err
			}
			q := u.Query()
			q.Set("sslmode", "disable") // the test server has no certificate
			u.RawQuery = q.Encode()
			db, err := sql.Open("postgres", u.String())
			if err != nil {
				return nil, err
			}
			db.SetMaxIdleConns(2)
			c, err := pglock.New(db, pglock.WithLeaseDuration(lease), pglock.WithHeartbeatFrequency(lease/4))
			if err == nil {
				// IF NOT EXISTS does not help against somebody who does the same right now.
				createTable.Lock()
				err = c.TryCreateTable()
				createTable.Unlock()
			}
			if err != nil {
				_ = db.Close()
				return nil, err
			}
			return &pgLockClient{db, c}, nil
		},
	}
}

var createTable sync.Mutex

type pgLockClient struct {
	db     *sql.DB
	client *pglock.Client
}

func (c *pgLockClient) Candidate(group, _ string) (Candidate, error) {
	return &pgLockCandidate{client: c.client, group: group}, nil
}

func (c *pgLockClient) Close() { _ = c.db.Close() }

type pgLockCandidate struct {
	client *pglock.Client
	group  string
	lock   *pglock.Lock
}

func (c *pgLockCandidate) Lead(ctx context.Context) (err error) {
	c.lock, err = c.client.AcquireContext(ctx, c.group)
	return err
}

func (c *pgLockCandidate) Resign(ctx context.Context) error {
	return c.client.ReleaseContext(ctx, c.lock)
}

func consulLock() Rival {
	return Rival{
		Library: "consul api.Lock", Module: "github.com/hashicorp/consul/api",
		Note: "one session per client instead of one per Lock, in its favour",
		Connect: func(_ context.Context, s Setting) (Client, error) {
			c, err := api.NewClient(&api.Config{Address: address(s.URL)})
			if err != nil {
				return nil, err
			}
			ttl := s.TTL.String()
			id, _, err := c.Session().Create(&api.SessionEntry{Name: "bench", TTL: ttl}, nil)
			if err != nil {
				return nil, err
			}
			done := make(chan struct{})
			go func() { _ = c.Session().RenewPeriodic(ttl, id, nil, done) }()
			return &consulClient{c, id, done}, nil
		},
	}
}

type consulClient struct {
	client  *api.Client
	session string
	done    chan struct{}
}

func (c *consulClient) Candidate(group, _ string) (Candidate, error) {
	l, err := c.client.LockOpts(&api.LockOptions{Key: "api.Lock/" + group, Session: c.session})
	return &consulCandidate{lock: l}, err
}

// Close ends the session, as RenewPeriodic does when it is told to stop.
func (c *consulClient) Close() { close(c.done) }

type consulCandidate struct{ lock *api.Lock }

// Lead does not wait for Lock after ctx has ended: it looks at its stop channel
// only between two long polls.
func (c *consulCandidate) Lead(ctx context.Context) error {
	return abandon(ctx, func() error {
		lost, err := c.lock.Lock(ctx.Done())
		if err == nil && lost == nil {
			err = errors.New("the attempt was stopped")
		}
		return err
	})
}

func (c *consulCandidate) Resign(context.Context) error { return c.lock.Unlock() }

func zooKeeperLock() Rival {
	return Rival{
		Library: "go-zookeeper Lock", Module: "github.com/go-zookeeper/zk",
		Connect: func(ctx context.Context, s Setting) (Client, error) {
			c, events, err := zk.Connect([]string{address(s.URL)}, s.TTL, zk.WithLogger(silent{}))
			if err != nil {
				return nil, err
			}
			for {
				select {
				case e := <-events:
					if e.State == zk.StateHasSession {
						return zkClient{c}, nil
					}
				case <-ctx.Done():
					c.Close()
					return nil, ctx.Err()
				}
			}
		},
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}

type zkClient struct{ conn *zk.Conn }

func (c zkClient) Candidate(group, _ string) (Candidate, error) {
	return zkCandidate{zk.NewLock(c.conn, "/lock-recipe/"+group, zk.WorldACL(zk.PermAll))}, nil
}

func (c zkClient) Close() { c.conn.Close() }

type zkCandidate struct{ lock *zk.Lock }

// Lead leaves Lock behind when ctx ends; closing the client ends it.
func (c zkCandidate) Lead(ctx context.Context) error { return abandon(ctx, c.lock.Lock) }

func (c zkCandidate) Resign(context.Context) error { return c.lock.Unlock() }

func abandon(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func etcdElection() Rival {
	return Rival{
		Library: "etcd Election", Module: "go.etcd.io/etcd/client/v3",
		// A watch that begins in the past, as that of a campaign, is served only from
		// the server's next look at such watches on, which it has every 100 ms.
		Settle: 100 * time.Millisecond,
		Note:   "the server fsyncs every write, the other servers do not; its followers are left alone for 100 ms longer before a handover, in its favour",
		Connect: func(ctx context.Context, s Setting) (Client, error) {
			c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.URL}, DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
			if err != nil {
				return nil, err
			}
			session, err := concurrency.NewSession(c, concurrency.WithTTL(int(s.TTL/time.Second)))
			if err != nil {
				_ = c.Close()
				return nil, fmt.Errorf("session: %w", err)
			}
			return &etcdClient{c, session}, nil
		},
	}
}

type etcdClient struct {
	client  *clientv3.Client
	session *concurrency.Session
}

func (c *etcdClient) Candidate(group, name string) (Candidate, error) {
	return etcdCandidate{concurrency.NewElection(c.session, "/elections/"+group), name}, nil
}

func (c *etcdClient) Close() {
	_ = c.session.Close()
	_ = c.client.Close()
}

type etcdCandidate struct {
	election *concurrency.Election
	name     string
}

func (c etcdCandidate) Lead(ctx context.Context) error   { return c.election.Campaign(ctx, c.name) }
func (c etcdCandidate) Resign(ctx context.Context) error { return c.election.Resign(ctx) }
