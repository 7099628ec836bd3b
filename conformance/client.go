package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// errUnreported stands for the answer of a renewal that the driver did not report.
var errUnreported = errors.New("conformance: the driver returned without reporting this request")

// client is one independent client of the store, with the kit's faults around it.
type client struct {
	driver.Driver
	raw  driver.Driver
	r    *run
	info driver.Info
	f    *faults
	link Link
}

// client opens one more client. It is closed when the rule ends.
func (r *run) client() *client {
	d, info := r.h.NewDriver(r)
	return r.adopt(d, info, nil)
}

// linked opens a client behind a fault proxy of its own.
func (r *run) linked() *client {
	d, info, link := r.h.NewLinked(r)
	return r.adopt(d, info, link)
}

func (r *run) adopt(d driver.Driver, info driver.Info, link Link) *client {
	c := &client{raw: d, r: r, info: info, f: newFaults(), link: link}
	c.f.took, c.f.labels = r.took, r.labels
	c.Driver = wrap(d, c.f)
	r.Cleanup(func() {
		if link != nil {
			link.Restore()
		}
		c.f.close()
		if err := d.Close(); err != nil {
			r.Logf("close: %v", err)
		}
	})
	return c
}

func (r *run) clients(n int) []*client {
	cs := make([]*client, n)
	for i := range cs {
		cs[i] = r.client()
	}
	return cs
}

// request is an attempt with a fresh nonce and the harness's TTL.
func (r *run) request(group, participant string) driver.AcquireRequest {
	return driver.AcquireRequest{Group: group, Participant: participant, Nonce: driver.NewNonce(), TTL: r.h.TTL}
}

func (c *client) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.r.ctx, callLimit)
}

// acquire makes one attempt, repeated while the store says that nothing was
// applied, and checks what every grant must satisfy.
func (c *client) acquire(req driver.AcquireRequest) (*lease, error) {
	ctx, cancel := c.context()
	defer cancel()
	for {
		t0 := time.Now()
		g, err := c.Acquire(ctx, req)
		t1 := time.Now()
		if errors.Is(err, driver.ErrNotApplied) && ctx.Err() == nil {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		if err != nil {
			return nil, err
		}
		if g.Granted <= 0 || g.Granted > req.TTL {
			c.r.Errorf("Acquire of %s with a TTL of %v granted %v; allowed is more than 0 and at most the TTL", req.Group, req.TTL, g.Granted)
		}
		if g.Token == 0 {
			c.r.Errorf("Acquire of %s gave token 0", req.Group)
		}
		return &lease{
			Term: driver.Term{Group: req.Group, Participant: req.Participant, Token: g.Token, Nonce: req.Nonce},
			c:    c, grant: g, good: t0.Add(g.Granted), reply: t1,
		}, nil
	}
}

// mustAcquire is acquire of a group that must be free.
func (c *client) mustAcquire(req driver.AcquireRequest) *lease {
	l, err := c.acquire(req)
	if err != nil {
		c.r.Fatalf("Acquire of %s, which nobody leads: %v", req.Group, err)
	}
	return l
}

func (c *client) win(group, participant string) *lease {
	return c.mustAcquire(c.r.request(group, participant))
}

// mustBeHeld makes an attempt that must find another term live.
func (c *client) mustBeHeld(req driver.AcquireRequest) driver.Record {
	l, err := c.acquire(req)
	var held *driver.HeldError
	if l != nil {
		c.r.Fatalf("Acquire of %s succeeded (token %d) although another term is live", req.Group, l.Token)
	}
	if !errors.As(err, &held) {
		c.r.Fatalf("Acquire of %s, which another term leads: want *HeldError, got %v", req.Group, err)
	}
	return held.Record
}

// takeover tries with fresh nonces until the group is granted, and returns the
// lease; it fails the rule if that takes longer than patience.
func (c *client) takeover(group, participant string, patience time.Duration) *lease {
	end := time.Now().Add(patience)
	req := c.r.request(group, participant)
	for {
		l, err := c.acquire(req)
		if err == nil {
			return l
		}
		if c.r.ctx.Err() != nil {
			c.r.FailNow()
		}
		if time.Now().After(end) {
			c.r.Fatalf("%s was not granted within %v: %v", group, patience, err)
		}
		if isCertain(err) {
			req = c.r.request(group, participant) // a nonce that was refused is never used again
		}
		c.r.pause(c.r.tick())
	}
}

func isCertain(err error) bool {
	var held *driver.HeldError
	return errors.As(err, &held) || errors.Is(err, driver.ErrResigned) || errors.Is(err, driver.ErrNotApplied) || errors.Is(err, driver.ErrClosed)
}

// tick is how often rules look.
func (r *run) tick() time.Duration {
	return min(max(r.h.TTL/50, 5*time.Millisecond), 100*time.Millisecond)
}

func (r *run) pause(d time.Duration) { pause(r.ctx, d) }

func (r *run) pauseUntil(t time.Time) { pause(r.ctx, time.Until(t)) }

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// eventually waits until cond holds, and fails the rule after patience.
func (r *run) eventually(patience time.Duration, what string, cond func() bool) {
	end := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(end) || r.ctx.Err() != nil {
			r.Fatalf("not within %v: %s", patience, what)
		}
		r.pause(r.tick())
	}
}

// renewAll sends one batch and returns the result of each request.
func (c *client) renewAll(reqs ...driver.RenewRequest) []driver.RenewResult {
	ctx, cancel := c.context()
	defer cancel()
	return c.renewCtx(ctx, reqs)
}

func (c *client) renewCtx(ctx context.Context, reqs []driver.RenewRequest) []driver.RenewResult {
	var mu sync.Mutex
	out := make([]driver.RenewResult, len(reqs))
	for i := range out {
		out[i] = driver.RenewResult{Index: i, Err: errUnreported}
	}
	reported := make([]bool, len(reqs))
	returned := false
	c.Renew(ctx, reqs, func(res driver.RenewResult) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case returned:
			c.r.Errorf("Renew reported an answer after it had returned")
		case res.Index < 0 || res.Index >= len(reqs):
			c.r.Errorf("Renew of %d requests reported the index %d", len(reqs), res.Index)
		case reported[res.Index]:
			c.r.Errorf("Renew reported request %d twice", res.Index)
		default:
			reported[res.Index], out[res.Index] = true, res
			if res.Err == nil && (res.Granted <= 0 || res.Granted > reqs[res.Index].TTL) {
				c.r.Errorf("Renew of %v with a TTL of %v granted %v", reqs[res.Index].Term, reqs[res.Index].TTL, res.Granted)
			}
		}
	})
	mu.Lock()
	defer mu.Unlock()
	returned = true
	return out
}

func (c *client) resign(t driver.Term) error {
	ctx, cancel := c.context()
	defer cancel()
	for {
		err := c.Resign(ctx, t)
		if errors.Is(err, driver.ErrNotApplied) && ctx.Err() == nil {
			pause(ctx, 10*time.Millisecond)
			continue
		}
		return err
	}
}

// leader reads the group's record with patience for uncertain answers; nil means
// that nobody leads.
func (c *client) leader(group string) *driver.Record {
	ctx, cancel := c.context()
	defer cancel()
	for {
		rec, err := c.Leader(ctx, group)
		switch {
		case err == nil:
			return &rec
		case errors.Is(err, driver.ErrNoLeader):
			return nil
		case ctx.Err() != nil || errors.Is(err, driver.ErrClosed):
			c.r.Fatalf("Leader of %s: %v", group, err)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// mustBeFree checks that nobody leads group.
func (c *client) mustBeFree(group, when string) {
	if rec := c.leader(group); rec != nil {
		c.r.Fatalf("%s: %v leads, want nobody", when, rec.Term)
	}
}

// notEarly fails the rule if next was granted while old was still good. The
// tolerance covers a store that keeps whole milliseconds and a clock being slewed.
func (r *run) notEarly(old time.Time, next *lease, what string) {
	tolerance := 2*time.Millisecond + r.h.TTL/1000
	if next.reply.Before(old.Add(-tolerance)) {
		r.violation("%s: %v was granted %v before the earlier term had run out", what, next.Term, old.Sub(next.reply))
	}
}

// newer fails the rule unless next has a greater token.
func (r *run) newer(old, next *lease) {
	if next.Token <= old.Token {
		r.violation("the token did not increase: %d after %d in group %s", next.Token, old.Token, next.Group)
	}
}

// keep renews the leases, each by itself, until stop is called. A certain loss
// fails the rule.
func (r *run) keep(leases ...*lease) (stop func()) {
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for _, l := range leases {
		wg.Go(func() {
			for {
				select {
				case <-quit:
					return
				case <-r.ctx.Done():
					return
				case <-time.After(r.h.TTL / 4):
				}
				until := l.goodUntil()
				if err := l.renew(); errors.Is(err, driver.ErrLost) && time.Now().After(until) {
					return // this machine was too slow
				} else if errors.Is(err, driver.ErrLost) {
					r.Errorf("the term %v was lost although it was renewed every quarter of its TTL: %v", l.Term, err)
					return
				}
			}
		})
	}
	var once sync.Once
	stop = func() {
		once.Do(func() { close(quit) })
		wg.Wait()
	}
	r.Cleanup(stop)
	return stop
}
