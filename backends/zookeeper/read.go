package zookeeper

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// Leader reads the lock node from the server this client is connected to, which
// may be behind the ensemble by a moment.
func (s *store) Leader(ctx context.Context, group string) (driver.Record, error) {
	if _, err := s.ready(ctx); err != nil {
		return driver.Record{}, err
	}
	n, err := s.get(ctx, s.lockPath(group))
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return driver.Record{}, driver.ErrNoLeader
	case err != nil:
		return driver.Record{}, explain(err)
	}
	rec, _ := decodeLock(group, n.data, n.stat)
	return rec, nil
}

// Leaders reads many lock nodes; the requests share the one connection and do not
// wait for each other.
func (s *store) Leaders(ctx context.Context, groups []string, report func(group string, rec driver.Record, err error)) {
	spread(len(groups), func(i int) {
		rec, err := s.Leader(ctx, groups[i])
		report(groups[i], rec, err)
	})
}

// abreast is how many of a batch's requests are under way at a time: enough to fill
// the connection. A goroutine for each would be memory that the runtime keeps.
const abreast = 16

// spread calls f for all numbers below n, for some at the same time.
func spread(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, abreast) {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				f(int(i - 1))
			}
		})
	}
	wg.Wait()
}

// Ping makes sure that there is a session, with the time-out that was asked for,
// and that the servers answer.
func (s *store) Ping(ctx context.Context) error {
	l, err := s.ready(ctx)
	if err != nil {
		return err
	}
	if err := s.checkTimeout(l); err != nil {
		return err
	}
	return explain(s.sync(ctx))
}
