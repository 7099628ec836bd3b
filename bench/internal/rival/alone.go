package rival

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// driverAlone is MultiLock's driver without an elector: what the store is asked,
// and no more. A lease is never renewed, so it must not be held for a TTL.
func driverAlone() Rival {
	return Rival{
		Library: "the driver alone", Floor: true,
		Note: "a floor, not a library: the requests of MultiLock without its elector; no renewal, no deadline, no events, no work that ends with its term, no call that can be given up, no retry",
		Connect: func(ctx context.Context, s Setting) (Client, error) {
			b, err := Open(ctx, s)
			if err != nil {
				return nil, err
			}
			return &aloneClient{multiLockClient: multiLockClient{b, s.TTL}, driver: b.Driver(), wakes: make(map[string]chan struct{})}, nil
		},
	}
}

// aloneClient is a driver and whom its wake-ups reach.
type aloneClient struct {
	multiLockClient
	driver driver.Driver

	watching sync.Mutex // held while a watch is asked for
	sub      driver.Subscription

	mu    sync.Mutex
	wakes map[string]chan struct{} // by group; each holds one
}

func (c *aloneClient) Candidate(group, name string) (Candidate, error) {
	return &aloneCandidate{client: c, group: group, name: name}, nil
}

// watch returns what wakes followers of a group, from the first call on.
func (c *aloneClient) watch(ctx context.Context, group string) (<-chan struct{}, error) {
	c.watching.Lock()
	defer c.watching.Unlock()
	c.mu.Lock()
	wake, ok := c.wakes[group]
	if !ok {
		wake = make(chan struct{}, 1)
		c.wakes[group] = wake
	}
	c.mu.Unlock()
	if ok {
		return wake, nil
	}
	if c.sub == nil {
		w, pushes := c.driver.(driver.Watcher)
		if !pushes {
			return nil, errors.New("the driver has no wake-ups")
		}
		var err error
		if c.sub, err = w.Watch(ctx, c); err != nil {
			return nil, err
		}
	}
	return wake, c.sub.Add(ctx, group)
}

// Wake implements driver.Sink.
func (c *aloneClient) Wake(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if wake, ok := c.wakes[group]; ok {
		ring(wake)
	}
}

// WakeAll implements driver.Sink.
func (c *aloneClient) WakeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, wake := range c.wakes {
		ring(wake)
	}
}

// Lost implements driver.Sink.
func (c *aloneClient) Lost(group string, _ driver.Nonce) { c.Wake(group) }

func ring(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

type aloneCandidate struct {
	client *aloneClient
	group  string
	name   string
	term   driver.Term
}

func (c *aloneCandidate) attempt(ctx context.Context) error {
	nonce := driver.NewNonce()
	g, err := c.client.driver.Acquire(ctx, driver.AcquireRequest{Group: c.group, Participant: c.name, Nonce: nonce, TTL: c.client.ttl})
	c.term = driver.Term{Group: c.group, Participant: c.name, Token: g.Token, Nonce: nonce}
	return err
}

func (c *aloneCandidate) Lead(ctx context.Context) error {
	for {
		err := c.attempt(ctx)
		var held *driver.HeldError
		if err == nil || !errors.As(err, &held) && !errors.Is(err, driver.ErrNotApplied) {
			return err
		}
		wake, err := c.client.watch(ctx, c.group)
		if err != nil {
			return err
		}
		again := c.client.ttl
		if held == nil {
			again = time.Millisecond
		}
		select {
		case <-wake:
		case <-time.After(again):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *aloneCandidate) Resign(ctx context.Context) error {
	return c.client.driver.Resign(ctx, c.term)
}

func (c *aloneCandidate) Cycle(ctx context.Context) error {
	if err := c.attempt(ctx); err != nil {
		return err
	}
	return c.Resign(ctx)
}
