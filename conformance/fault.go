package conformance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// errInjected is the uncertain error of a request or reply the kit lost.
var errInjected = errors.New("conformance: injected: connection reset")

// call is one request on its way from the kit to the driver.
type call struct {
	op     string // "acquire", "renew", "resign", "leader", "leaders" or "ping"
	groups []string
}

// plan is what happens to one call. The zero plan lets it through untouched, so
// that a batch still reports each term as its answer comes.
type plan struct {
	err   error           // not executed; the caller gets this error
	drop  bool            // not executed; the caller waits for its context
	hold  <-chan struct{} // executed only once this is closed, whether or not the caller still waits
	delay time.Duration   // executed this much later, whether or not the caller still waits
	twice <-chan struct{} // executed a second time once this is closed
	lose  bool            // executed; the reply is lost and the caller gets errInjected
	hang  bool            // executed; the reply never comes and the caller waits for its context
	back  time.Duration   // the reply takes this long
}

// faults decides about the calls of one client. It is shared by the wrapper of
// the driver and the rule.
type faults struct {
	mu      sync.Mutex
	decide  func(call) plan
	observe func(call)
	counts  map[string]int
	late    sync.WaitGroup // executions that outlive their callers
	over    chan struct{}  // closed when the client closes: what was held never executes
	took    func(time.Duration)
}

func newFaults() *faults {
	return &faults{counts: map[string]int{}, over: make(chan struct{})}
}

// close gives up what is still held and waits for what is being executed.
func (f *faults) close() {
	close(f.over)
	f.late.Wait()
}

// on replaces what decides; nil lets everything through.
func (f *faults) on(decide func(call) plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.decide = decide
}

// watch sets a function that sees every call before it leaves.
func (f *faults) watch(observe func(call)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observe = observe
}

func (f *faults) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[op]
}

func (f *faults) total() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.counts {
		n += c
	}
	return n
}

func (f *faults) plan(c call) plan {
	f.mu.Lock()
	f.counts[c.op]++
	decide, observe := f.decide, f.observe
	f.mu.Unlock()
	if observe != nil {
		observe(c)
	}
	if decide == nil {
		return plan{}
	}
	return decide(c)
}

// do carries out one call according to p. execute performs it and returns a
// function that hands its answer to the caller; that is called only while the
// caller waits. The error is of a call whose answer did not reach the caller.
func (f *faults) do(ctx context.Context, p plan, execute func(ctx context.Context) (deliver func())) error {
	if p.err != nil {
		return p.err
	}
	if p.drop {
		<-ctx.Done()
		return ctx.Err()
	}
	replies := make(chan func(), 1)
	detached := context.WithoutCancel(ctx)
	f.late.Go(func() {
		if p.hold != nil && !f.wait(p.hold) {
			return
		}
		time.Sleep(p.delay)
		deliver := execute(detached)
		time.Sleep(p.back)
		replies <- deliver
		if p.twice != nil && f.wait(p.twice) {
			execute(detached)
		}
	})
	if p.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	select {
	case deliver := <-replies:
		if p.lose {
			return errInjected
		}
		deliver()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// since notes how long a call took that the kit did not touch.
func (f *faults) since(start time.Time) {
	if f.took != nil {
		f.took(time.Since(start))
	}
}

func (f *faults) wait(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-f.over:
		return false
	}
}

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

func (w *faultDriver) Acquire(ctx context.Context, req driver.AcquireRequest) (driver.Grant, error) {
	p := w.f.plan(call{"acquire", []string{req.Group}})
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
	groups := make([]string, len(reqs))
	for i, q := range reqs {
		groups[i] = q.Term.Group
	}
	p := w.f.plan(call{"renew", groups})
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
	p := w.f.plan(call{"resign", []string{t.Group}})
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
	p := w.f.plan(call{"leader", []string{group}})
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
	p := w.f.plan(call{"leaders", groups})
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
	}
	p := w.f.plan(call{"acquire", groups})
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
	p := w.f.plan(call{"ping", nil})
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
