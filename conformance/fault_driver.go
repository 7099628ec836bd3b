package conformance

import (
	"context"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// wrap puts f between the caller and d. The result has exactly the optional
// interfaces of d.
func wrap(d driver.Driver, f *faults) driver.Driver {
	base := &faultDriver{d: d, f: f}
	w, isW := d.(driver.Watcher)
	_, isR := d.(driver.BatchReader)
	_, isA := d.(driver.BatchAcquirer)
	_, isP := d.(driver.Pinger)
	r, a, p := (*faultReader)(base), (*faultAcquirer)(base), (*faultPinger)(base)
	type (
		W = driver.Watcher
		R = driver.BatchReader
		A = driver.BatchAcquirer
		P = driver.Pinger
		D = driver.Driver
	)
	mask := 0
	for i, b := range []bool{isW, isR, isA, isP} {
		if b {
			mask |= 1 << i
		}
	}
	switch mask {
	case 1:
		return struct {
			D
			W
		}{base, w}
	case 2:
		return struct {
			D
			R
		}{base, r}
	case 3:
		return struct {
			D
			W
			R
		}{base, w, r}
	case 4:
		return struct {
			D
			A
		}{base, a}
	case 5:
		return struct {
			D
			W
			A
		}{base, w, a}
	case 6:
		return struct {
			D
			R
			A
		}{base, r, a}
	case 7:
		return struct {
			D
			W
			R
			A
		}{base, w, r, a}
	case 8:
		return struct {
			D
			P
		}{base, p}
	case 9:
		return struct {
			D
			W
			P
		}{base, w, p}
	case 10:
		return struct {
			D
			R
			P
		}{base, r, p}
	case 11:
		return struct {
			D
			W
			R
			P
		}{base, w, r, p}
	case 12:
		return struct {
			D
			A
			P
		}{base, a, p}
	case 13:
		return struct {
			D
			W
			A
			P
		}{base, w, a, p}
	case 14:
		return struct {
			D
			R
			A
			P
		}{base, r, a, p}
	case 15:
		return struct {
			D
			W
			R
			A
			P
		}{base, w, r, a, p}
	}
	return base
}

type faultDriver struct {
	d driver.Driver
	f *faults
}

func (w *faultDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (g driver.Grant, err error) {
	w.f.nonces.send(req.Nonce)
	defer func() { w.f.nonces.answer(ctx, req.Nonce, err) }()
	return w.acquire(ctx, req)
}

func (w *faultDriver) acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	p := w.f.plan(call{op: "acquire", groups: []string{req.Group}})
	if p == (plan{}) {
		defer w.f.since(time.Now())
		return w.d.Acquire(ctx, req)
	}
	var grant driver.Grant
	var err error
	lost := w.f.do(ctx, p, func(ctx context.Context) func() {
		g, e := w.d.Acquire(ctx, req)
		return func() { grant, err = g, e }
	})
	if lost != nil {
		return driver.Grant{}, lost
	}
	return grant, err
}

func (w *faultDriver) Renew(ctx context.Context, reqs []driver.RenewRequest, report func(driver.RenewResult)) {
	groups, terms := make([]string, len(reqs)), make([]driver.Term, len(reqs))
	for i, q := range reqs {
		groups[i], terms[i] = q.Term.Group, q.Term
	}
	p := w.f.plan(call{"renew", groups, terms})
	if p == (plan{}) {
		defer w.f.since(time.Now())
		w.d.Renew(ctx, reqs, report)
		return
	}
	lost := w.f.do(ctx, p, func(ctx context.Context) func() {
		var mu sync.Mutex
		var kept []driver.RenewResult
		w.d.Renew(ctx, reqs, func(res driver.RenewResult) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, res)
		})
		return func() {
			for _, res := range kept {
				report(res)
			}
		}
	})
	if lost != nil {
		for i := range reqs {
			report(driver.RenewResult{Index: i, Err: lost})
		}
	}
}

func (w *faultDriver) Resign(ctx context.Context, t driver.Term) error {
	w.f.nonces.resign(t.Nonce)
	p := w.f.plan(call{"resign", []string{t.Group}, []driver.Term{t}})
	if p == (plan{}) {
		defer w.f.since(time.Now())
		return w.d.Resign(ctx, t)
	}
	var err error
	lost := w.f.do(ctx, p, func(ctx context.Context) func() {
		e := w.d.Resign(ctx, t)
		return func() { err = e }
	})
	if lost != nil {
		return lost
	}
	return err
}

func (w *faultDriver) Leader(ctx context.Context, group string) (driver.Record, error) {
	p := w.f.plan(call{op: "leader", groups: []string{group}})
	if p == (plan{}) {
		defer w.f.since(time.Now())
		return w.d.Leader(ctx, group)
	}
	var rec driver.Record
	var err error
	lost := w.f.do(ctx, p, func(ctx context.Context) func() {
		r, e := w.d.Leader(ctx, group)
		return func() { rec, err = r, e }
	})
	if lost != nil {
		return driver.Record{}, lost
	}
	return rec, err
}

func (w *faultDriver) Close() error { return w.d.Close() }

type faultReader faultDriver

func (w *faultReader) Leaders(ctx context.Context, groups []string, report func(string, driver.Record, error)) {
	type answer struct {
		group string
		rec   driver.Record
		err   error
	}
	p := w.f.plan(call{op: "leaders", groups: groups})
	if p == (plan{}) {
		w.d.(driver.BatchReader).Leaders(ctx, groups, report)
		return
	}
	lost := w.f.do(ctx, p, func(ctx context.Context) func() {
		var mu sync.Mutex
		var kept []answer
		w.d.(driver.BatchReader).Leaders(ctx, groups, func(g string, rec driver.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, answer{g, rec, err})
		})
		return func() {
			for _, a := range kept {
				report(a.group, a.rec, a.err)
			}
		}
	})
	if lost != nil {
		for _, g := range groups {
			report(g, driver.Record{}, lost)
		}
	}
}

type faultAcquirer faultDriver

func (w *faultAcquirer) AcquireBatch(ctx context.Context, reqs []driver.AcquireRequest, report func(int, driver.Grant, error)) {
	type answer struct {
		i   int
		g   driver.Grant
		err error
	}
	groups := make([]string, len(reqs))
	for i, q := range reqs {
		groups[i] = q.Group
		w.f.nonces.send(q.Nonce)
	}
	if w.f.nonces != nil {
		plain := report
		report = func(i int, g driver.Grant, err error) {
			w.f.nonces.answer(ctx, reqs[i].Nonce, err)
			plain(i, g, err)
		}
	}
	p := w.f.plan(call{op: "acquire", groups: groups})
	if p == (plan{}) {
		w.d.(driver.BatchAcquirer).AcquireBatch(ctx, reqs, report)
		return
	}
	lost := w.f.do(ctx, p, func(ctx context.Context) func() {
		var mu sync.Mutex
		var kept []answer
		w.d.(driver.BatchAcquirer).AcquireBatch(ctx, reqs, func(i int, g driver.Grant, err error) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, answer{i, g, err})
		})
		return func() {
			for _, a := range kept {
				report(a.i, a.g, a.err)
			}
		}
	})
	if lost != nil {
		for i := range reqs {
			report(i, driver.Grant{}, lost)
		}
	}
}

type faultPinger faultDriver

func (w *faultPinger) Ping(ctx context.Context) error {
	p := w.f.plan(call{op: "ping"})
	if p == (plan{}) {
		return w.d.(driver.Pinger).Ping(ctx)
	}
	var err error
	lost := w.f.do(ctx, p, func(ctx context.Context) func() {
		e := w.d.(driver.Pinger).Ping(ctx)
		return func() { err = e }
	})
	if lost != nil {
		return lost
	}
	return err
}
