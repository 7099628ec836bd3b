package multilock

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// fakeStore is the plainest correct store: a map under a mutex. Hooks let a test
// fail or delay single calls. It runs on package time, so tests put it in bubbles.
type fakeStore struct {
	mu     sync.Mutex
	groups map[string]*fakeGroup
	sinks  map[driver.Sink]map[string]bool // the groups each watches
	log    []string

	// hooks, called before (and for the *Reply ones after) the operation; an error
	// replaces the result. They run without the lock and may block.
	onAcquire, onAcquireReply func(driver.AcquireRequest) error
	onRenew, onRenewReply     func(driver.RenewRequest) error
	onResign, onResignReply   func(driver.Term) error
	onAdd                     func(group string) error
}

type fakeGroup struct {
	rec          driver.Record
	until        time.Time
	token        uint64
	lastResigned driver.Nonce
}

func newFakeStore() *fakeStore {
	return &fakeStore{groups: map[string]*fakeGroup{}, sinks: map[driver.Sink]map[string]bool{}}
}

// set changes hooks of a store in use.
func (s *fakeStore) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *fakeStore) note(op string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, op)
}

func (s *fakeStore) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, x := range s.log {
		if x == op {
			n++
		}
	}
	return n
}

func (s *fakeStore) group(name string) *fakeGroup {
	g := s.groups[name]
	if g == nil {
		g = &fakeGroup{}
		s.groups[name] = g
	}
	return g
}

// drop removes a live record, as an operator might.
func (s *fakeStore) drop(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group(group).until = time.Time{}
}

// fakeDriver is one client of a fakeStore.
type fakeDriver struct {
	s      *fakeStore
	closed sync.Once
	done   chan struct{}
}

func hook[T any](s *fakeStore, p *func(T) error, v T) error {
	s.mu.Lock()
	f := *p
	s.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(v)
}

func (d *fakeDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	d.s.note("acquire")
	if err := hook(d.s, &d.s.onAcquire, req); err != nil {
		return driver.Grant{}, err
	}
	g, err := d.acquire(req)
	if e := hook(d.s, &d.s.onAcquireReply, req); e != nil {
		return driver.Grant{}, e
	}
	return g, err
}

func (d *fakeDriver) acquire(req driver.AcquireRequest) (driver.Grant, error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	g := d.s.group(req.Group)
	now := time.Now()
	if g.lastResigned == req.Nonce {
		return driver.Grant{}, driver.ErrResigned
	}
	if now.Before(g.until) {
		if g.rec.Nonce == req.Nonce {
			if u := now.Add(req.TTL); u.After(g.until) {
				g.until = u
			}
			return driver.Grant{Token: g.token, Granted: req.TTL, AcquiredAt: g.rec.AcquiredAt}, nil
		}
		rec := g.rec
		rec.Remaining = g.until.Sub(now)
		return driver.Grant{}, &driver.HeldError{Record: rec}
	}
	g.token++
	g.until = now.Add(req.TTL)
	g.rec = driver.Record{
		Term:     driver.Term{Group: req.Group, Participant: req.Participant, Token: g.token, Nonce: req.Nonce},
		Metadata: maps.Clone(req.Metadata), AcquiredAt: now, TTL: req.TTL,
	}
	return driver.Grant{Token: g.token, Granted: req.TTL, AcquiredAt: now}, nil
}

func (d *fakeDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	d.s.note("renew")
	for i, req := range reqs {
		if err := hook(d.s, &d.s.onRenew, req); err != nil {
			report(driver.RenewResult{Index: i, Err: err})
			continue
		}
		err := d.renew(req)
		if e := hook(d.s, &d.s.onRenewReply, req); e != nil {
			err = e
		}
		report(driver.RenewResult{Index: i, Granted: req.TTL, Err: err})
	}
}

func (d *fakeDriver) renew(req driver.RenewRequest) error {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	g := d.s.group(req.Term.Group)
	now := time.Now()
	if g.rec.Nonce != req.Term.Nonce || !now.Before(g.until) {
		return driver.ErrLost
	}
	if u := now.Add(req.TTL); u.After(g.until) {
		g.until = u
	}
	if req.Metadata != nil {
		g.rec.Metadata = maps.Clone(req.Metadata)
	}
	return nil
}

func (d *fakeDriver) Resign(ctx context.Context, t driver.Term) error {
	d.s.note("resign")
	if err := hook(d.s, &d.s.onResign, t); err != nil {
		return err
	}
	err := d.resign(t)
	if e := hook(d.s, &d.s.onResignReply, t); e != nil {
		return e
	}
	return err
}

func (d *fakeDriver) resign(t driver.Term) error {
	d.s.mu.Lock()
	g := d.s.group(t.Group)
	if g.rec.Nonce != t.Nonce || !time.Now().Before(g.until) {
		d.s.mu.Unlock()
		return driver.ErrLost
	}
	g.until, g.lastResigned = time.Time{}, t.Nonce
	var sinks []driver.Sink
	for k, watched := range d.s.sinks {
		if watched[t.Group] {
			sinks = append(sinks, k)
		}
	}
	d.s.mu.Unlock()
	for _, k := range sinks {
		k.Wake(t.Group)
	}
	return nil
}

func (d *fakeDriver) Leader(ctx context.Context, group string) (driver.Record, error) {
	d.s.note("leader")
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	g := d.s.group(group)
	now := time.Now()
	if !now.Before(g.until) {
		return driver.Record{}, driver.ErrNoLeader
	}
	rec := g.rec
	rec.Metadata = maps.Clone(rec.Metadata)
	rec.Remaining = g.until.Sub(now)
	return rec, nil
}

func (d *fakeDriver) Close() error {
	d.closed.Do(func() { d.s.note("close"); close(d.done) })
	return nil
}

// pushing adds wake-ups to a fakeDriver.
type pushing struct{ *fakeDriver }

func (p pushing) Watch(ctx context.Context, sink driver.Sink) (driver.Subscription, error) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.sinks[sink] = map[string]bool{}
	return &fakeSub{p.s, sink}, nil
}

type fakeSub struct {
	s    *fakeStore
	sink driver.Sink
}

func (x *fakeSub) Add(_ context.Context, group string) error {
	if err := hook(x.s, &x.s.onAdd, group); err != nil {
		return err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	groups := x.s.sinks[x.sink]
	if groups == nil { // closed
		return ErrClosed
	}
	groups[group] = true
	return nil
}

func (x *fakeSub) Remove(group string) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	delete(x.s.sinks[x.sink], group)
}

func (x *fakeSub) Close() error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	delete(x.s.sinks, x.sink)
	return nil
}

var fakeInfo = driver.Info{Name: "fake", MinTTL: 20 * time.Millisecond, RemainingKnown: true, PushOnResign: true, Calls: 2, Hedge: true, RenewBatch: 100}

// newFake returns a backend on s that is closed with the test.
func newFake(t testing.TB, s *fakeStore) *Backend {
	t.Helper()
	b, err := NewBackend(pushing{&fakeDriver{s: s, done: make(chan struct{})}}, fakeInfo)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newElector(t testing.TB, b *Backend, o Options) *Elector {
	t.Helper()
	if o.Group == "" {
		o.Group = "g"
	}
	e, err := New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var errTransport = errors.New("connection reset")
