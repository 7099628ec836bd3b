package rival

import (
	"context"
	"errors"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// silence keeps client-go from logging every refused attempt. It is for good: its
// goroutines read the logger at any time.
var silence = sync.OnceFunc(func() { klog.SetLogger(klog.Logger{}) })

func clientGo() Rival {
	return Rival{
		Library: "client-go leaderelection", Module: "k8s.io/client-go",
		Poll: 2200 * time.Millisecond, // its RetryPeriod, jittered by up to 1.2 of itself
		Note: "its LeaseLock over HTTP to a stand-in for the API server that keeps leases in memory; ReleaseOnCancel; 15/10/2 s in proportion to the TTL; no client-side rate limit",
		Connect: func(_ context.Context, s Setting) (Client, error) {
			silence()
			c, err := coordination.NewForConfig(&rest.Config{
				Host: s.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"},
			})
			if err != nil {
				return nil, err
			}
			return &clientGoClient{c, s.TTL}, nil
		},
	}
}

type clientGoClient struct {
	leases *coordination.CoordinationV1Client
	ttl    time.Duration
}

func (c *clientGoClient) Candidate(group, name string) (Candidate, error) {
	return &clientGoCandidate{client: c, group: group, name: name}, nil
}

func (c *clientGoClient) Close() {}

type clientGoCandidate struct {
	client      *clientGoClient
	group, name string
	cancel      context.CancelFunc
	ended       chan struct{}
}

func (c *clientGoCandidate) Lead(ctx context.Context) error {
	leads := make(chan struct{})
	ttl := c.client.ttl
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: "bench", Name: c.group}, Client: c.client.leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: c.name},
		},
		LeaseDuration: ttl, RenewDeadline: ttl * 10 / 15, RetryPeriod: ttl * 2 / 15, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(leads) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	ctx, c.cancel = context.WithCancel(ctx)
	c.ended = make(chan struct{})
	go func() {
		defer close(c.ended)
		e.Run(ctx)
	}()
	select {
	case <-leads:
		return nil
	case <-c.ended:
		return errors.Join(errors.New("its Run ended before it led"), ctx.Err())
	}
}

func (c *clientGoCandidate) Resign(ctx context.Context) error {
	c.cancel()
	select {
	case <-c.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
