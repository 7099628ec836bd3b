package fxmodule_test

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// fakeOptions are the options of a backend of one process: the module must not
// depend on a real one, not even in its tests.
type fakeOptions struct{ store *fakeStore }

type fakeStore struct {
	mu      sync.Mutex
	token   uint64
	groups  map[string]*fakeRecord
	journal *journal
	err     error // answer of every attempt
}

type fakeRecord struct {
	rec   driver.Record
	until time.Time
}

func newStore(j *journal) *fakeStore {
	return &fakeStore{groups: map[string]*fakeRecord{}, journal: j}
}

func openFake(_ context.Context, o fakeOptions) (*multilock.Backend, error) {
	return multilock.NewBackend(&fakeDriver{s: o.store}, driver.Info{Name: "fake", RemainingKnown: true})
}

// journal notes what happens in which order.
type journal struct {
	echo io.Writer // may be nil; it gets each line at once

	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	if j == nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	if j.echo != nil {
		fmt.Fprintln(j.echo, line)
	}
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}

type fakeDriver struct{ s *fakeStore }

func (d *fakeDriver) Acquire(_ context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if d.s.err != nil {
		return driver.Grant{}, d.s.err
	}
	g, now := d.s.groups[req.Group], time.Now()
	if g != nil && now.Before(g.until) && g.rec.Nonce != req.Nonce {
		rec := g.rec
		rec.Remaining = min(g.until.Sub(now), 20*time.Millisecond) // followers look often
		return driver.Grant{}, &driver.HeldError{Record: rec}
	}
	d.s.token++
	d.s.groups[req.Group] = &fakeRecord{until: now.Add(req.TTL), rec: driver.Record{
		Term: driver.Term{Group: req.Group, Participant: req.Participant, Token: d.s.token, Nonce: req.Nonce}, TTL: req.TTL,
	}}
	return driver.Grant{Token: d.s.token, Granted: req.TTL, AcquiredAt: now}, nil
}

func (d *fakeDriver) live(t driver.Term) *fakeRecord {
	if g := d.s.groups[t.Group]; g != nil && g.rec.Nonce == t.Nonce && time.Now().Before(g.until) {
		return g
	}
	return nil
}

func (d *fakeDriver) Renew(_ context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	for i, r := range reqs {
		if g := d.live(r.Term); g != nil {
			g.until = time.Now().Add(r.TTL)
			report(driver.RenewResult{Index: i, Granted: r.TTL})
			continue
		}
		report(driver.RenewResult{Index: i, Err: driver.ErrLost})
	}
}

func (d *fakeDriver) Resign(_ context.Context, t driver.Term) error {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if g := d.live(t); g != nil {
		g.until = time.Time{}
		d.s.journal.add("resigned " + t.Group)
		return nil
	}
	return driver.ErrLost
}

func (d *fakeDriver) Leader(_ context.Context, group string) (driver.Record, error) {
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	if g := d.s.groups[group]; g != nil && time.Now().Before(g.until) {
		return g.rec, nil
	}
	return driver.Record{}, driver.ErrNoLeader
}

func (d *fakeDriver) Close() error {
	d.s.journal.add("backend closed")
	return nil
}
