package rival

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncpool "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
)

func rueidisLock() Rival {
	return Rival{
		Library: "rueidislock", Module: "github.com/redis/rueidis",
		Renews: 0.5, // ExtendInterval
		Note:   "one key instead of three, NoLoopTracking, both in its favour; TryNextAfter 2 s, since after its 20 ms on a busy machine it waits for a notification that does not come",
		Connect: func(_ context.Context, s Setting) (Client, error) {
			l, err := rueidislock.NewLocker(rueidislock.LockerOption{
				ClientOption: rueidis.ClientOption{InitAddress: []string{address(s.URL)}},
				KeyValidity:  s.TTL, KeyMajority: 1, NoLoopTracking: true, TryNextAfter: 2 * time.Second,
			})
			if err != nil {
				return nil, err
			}
			return rueidisClient{l}, nil
		},
	}
}

type rueidisClient struct{ locker rueidislock.Locker }

func (c rueidisClient) Candidate(group, _ string) (Candidate, error) {
	return &rueidisCandidate{locker: c.locker, group: group}, nil
}

func (c rueidisClient) Close() { c.locker.Close() }

type rueidisCandidate struct {
	locker rueidislock.Locker
	group  string
	unlock context.CancelFunc
}

func (c *rueidisCandidate) Lead(ctx context.Context) (err error) {
	_, c.unlock, err = c.locker.WithContext(ctx, c.group)
	return err
}

func (c *rueidisCandidate) Resign(context.Context) error {
	c.unlock()
	return nil
}

// redisLockPoll is the wait between attempts in redislock's own example.
const redisLockPoll = 100 * time.Millisecond

func redisLock() Rival {
	return Rival{
		Library: "redislock", Module: "github.com/bsm/redislock", Poll: redisLockPoll, Renews: 0.33,
		Note: "LinearBackoff(100ms) as in its README; refreshed by us every TTL/3, since it does not do so itself",
		Connect: func(_ context.Context, s Setting) (Client, error) {
			c := goredis.NewClient(&goredis.Options{Addr: address(s.URL)})
			return &redisLockClient{c, redislock.New(c), s.TTL}, nil
		},
	}
}

type redisLockClient struct {
	client *goredis.Client
	locks  *redislock.Client
	ttl    time.Duration
}

func (c *redisLockClient) Candidate(group, _ string) (Candidate, error) {
	return &redisLockCandidate{client: c, group: "redislock:" + group}, nil
}

func (c *redisLockClient) Close() { _ = c.client.Close() }

type redisLockCandidate struct {
	client *redisLockClient
	group  string
	lock   *redislock.Lock
	keep   keeper
}

func (c *redisLockCandidate) Lead(ctx context.Context) (err error) {
	// Without a deadline of the caller's, Obtain waits no longer than one TTL.
	for {
		c.lock, err = c.client.locks.Obtain(ctx, c.group, c.client.ttl, &redislock.Options{RetryStrategy: redislock.LinearBackoff(redisLockPoll)})
		if err == nil {
			break
		}
		if ctx.Err() != nil || !errors.Is(err, redislock.ErrNotObtained) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	lock := c.lock
	c.keep.start(c.client.ttl/3, func(ctx context.Context) { _ = lock.Refresh(ctx, c.client.ttl, nil) })
	return nil
}

func (c *redisLockCandidate) Resign(ctx context.Context) error {
	c.keep.stop()
	return c.lock.Release(ctx)
}

func redSync() Rival {
	return Rival{
		Library: "redsync", Module: "github.com/go-redsync/redsync/v4", Poll: 150 * time.Millisecond, Renews: 0.33, Plain: []string{"set"},
		Note: "one server instead of a quorum, its default wait of 50 to 250 ms, tries without end; extended by us every TTL/3, since it does not do so itself",
		Connect: func(_ context.Context, s Setting) (Client, error) {
			c := goredis.NewClient(&goredis.Options{Addr: address(s.URL)})
			return &redSyncClient{c, redsync.New(redsyncpool.NewPool(c)), s.TTL}, nil
		},
	}
}

type redSyncClient struct {
	client *goredis.Client
	sync   *redsync.Redsync
	ttl    time.Duration
}

func (c *redSyncClient) Candidate(group, _ string) (Candidate, error) {
	m := c.sync.NewMutex("redsync:"+group, redsync.WithExpiry(c.ttl), redsync.WithTries(math.MaxInt32))
	return &redSyncCandidate{mutex: m, ttl: c.ttl}, nil
}

func (c *redSyncClient) Close() { _ = c.client.Close() }

type redSyncCandidate struct {
	mutex *redsync.Mutex
	ttl   time.Duration
	keep  keeper
}

func (c *redSyncCandidate) Lead(ctx context.Context) error {
	if err := c.mutex.LockContext(ctx); err != nil {
		return err
	}
	c.keep.start(c.ttl/3, func(ctx context.Context) { _, _ = c.mutex.ExtendContext(ctx) })
	return nil
}

func (c *redSyncCandidate) Resign(ctx context.Context) error {
	c.keep.stop()
	if ok, err := c.mutex.UnlockContext(ctx); err != nil || !ok {
		return fmt.Errorf("unlock: %v, %w", ok, err)
	}
	return nil
}

// keeper renews a lock for libraries that leave that to their caller.
type keeper struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

func (k *keeper) start(every time.Duration, renew func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.wait.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				renew(ctx)
			}
		}
	})
}

func (k *keeper) stop() {
	k.cancel()
	k.wait.Wait()
}
