package zookeeper

import (
	"context"
	"errors"
	"sync"

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
	var wg sync.WaitGroup
	for _, group := range groups {
		wg.Go(func() {
			rec, err := s.Leader(ctx, group)
			report(group, rec, err)
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
