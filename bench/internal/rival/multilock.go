package rival

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/multilock/multilock-go/backends/azblob"
	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/backends/file"
	"github.com/multilock/multilock-go/backends/memory"
	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/backends/zookeeper"
	multilock "github.com/multilock/multilock-go/core"
)

// azblobPoll is how often followers look at a lease of 15 s.
const azblobPoll = 15 * time.Second / 4

func multiLock() Rival {
	return Rival{
		Library: "MultiLock", Ours: true,
		Renews: 0.3, // the first heartbeat of a process is a third of TTL less margin, 0.311, after its first attempt
		Connect: func(ctx context.Context, s Setting) (Client, error) {
			b, err := Open(ctx, s)
			if err != nil {
				return nil, err
			}
			return &multiLockClient{b, s.TTL}, nil
		},
	}
}

// Open opens MultiLock's backend for a store.
func Open(ctx context.Context, s Setting) (*multilock.Backend, error) {
	switch s.Store {
	case "azblob":
		return azblob.Open(ctx, azblob.Options{ConnectionString: s.URL})
	case "consul":
		return consul.OpenURL(ctx, s.URL)
	case "file":
		return file.OpenURL(ctx, s.URL)
	case "memory":
		return memory.OpenURL(ctx, s.URL)
	case "postgres":
		return postgres.OpenURL(ctx, s.URL)
	case "redis":
		return redis.OpenURL(ctx, s.URL)
	case "sqlserver":
		return sqlserver.Open(ctx, sqlserver.Options{ConnString: s.URL})
	case "zookeeper":
		return zookeeper.Open(ctx, zookeeper.Options{Servers: []string{address(s.URL)}, SessionTimeout: s.TTL})
	}
	return nil, fmt.Errorf("MultiLock has no backend for %s", s.Store)
}

// address is the host and port of a URL.
func address(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		return u.Host
	}
	return strings.TrimPrefix(raw, "http://")
}

type multiLockClient struct {
	backend *multilock.Backend
	ttl     time.Duration
}

func (c *multiLockClient) Candidate(group, name string) (Candidate, error) {
	e, err := multilock.New(c.backend, multilock.Options{Group: group, ParticipantID: name, HeartbeatTimeout: c.ttl})
	return &multiLockCandidate{elector: e}, err
}

func (c *multiLockClient) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = c.backend.Close(ctx) // a lease that cannot be given back runs out
}

// multiLockCandidate runs Elector.Run as a program would: the work is the time
// between Lead and Resign.
type multiLockCandidate struct {
	elector *multilock.Elector
	finish  chan struct{}
	ended   chan error
}

func (c *multiLockCandidate) Lead(ctx context.Context) error {
	leads := make(chan struct{}, 1)
	c.finish, c.ended = make(chan struct{}), make(chan error, 1)
	finish := c.finish
	go func() {
		c.ended <- c.elector.Run(ctx, func(work context.Context, _ multilock.Term) error {
			select {
			case leads <- struct{}{}:
			default: // it leads again after a loss
			}
			select {
			case <-finish:
			case <-work.Done():
			}
			return nil
		})
	}()
	select {
	case <-leads:
		return nil
	case err := <-c.ended:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("its Run ended before it led: %w", err)
	}
}

func (c *multiLockCandidate) Resign(ctx context.Context) error {
	close(c.finish)
	select {
	case err := <-c.ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *multiLockCandidate) Cycle(ctx context.Context) error {
	ok, err := c.elector.TryAcquire(ctx)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("a free group was not won")
	}
	return c.elector.Resign(ctx)
}
