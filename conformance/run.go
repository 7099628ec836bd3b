package conformance

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

const (
	minHarnessTTL = 500 * time.Millisecond
	minSlack      = 2 * time.Second
	callLimit     = 15 * time.Second
	stopPatience  = 15 * time.Second // for a rule whose limit has passed
	leakPatience  = 5 * time.Second
)

// Run runs every rule as a subtest and writes the report when all are done.
func Run(t *testing.T, newHarness func(TB) Harness) {
	t.Helper()
	reported.Store(true)
	t.Cleanup(func() {
		if underMain.Load() { // which writes it at the end of all tests
			return
		}
		if err := writeReport(t.Logf); err != nil {
			t.Errorf("the report cannot be written: %v", err)
		}
	})
	for _, rule := range allRules() {
		t.Run(rule.ID, func(t *testing.T) { RunRule(t, rule.ID, newHarness) })
	}
}

// RunRule runs one rule. A rule whose power is declared missing, or that does not
// apply to what the backend declares, is skipped with that reason and listed in
// the report.
func RunRule(t *testing.T, id string, newHarness func(TB) Harness) {
	t.Helper()
	rule, err := findRule(id)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(ReportEnv) != "" && !reported.Load() && !underMain.Load() {
		t.Fatalf("%s is set, but nobody writes the report; let TestMain call conformance.Main", ReportEnv)
	}
	if !rule.StoreWide() {
		t.Parallel()
	}
	res := execute(t, rule, newHarness)
	record(res)
	if res.Outcome == Missing || res.Outcome == NotApplicable {
		t.Skipf("%s: %s: %s", res.Rule, res.Outcome, res.Why)
	}
}

// Execute runs one rule without the help of package testing, so that it may be
// called inside a testing/synctest bubble. Failures are reported to tb.
func Execute(tb TB, id string, newHarness func(TB) Harness) Result {
	tb.Helper()
	rule, err := findRule(id)
	if err != nil {
		tb.Fatal(err)
	}
	return execute(tb, rule, newHarness)
}

// reported says that Run was called, which writes the report.
var reported atomic.Bool

var runs atomic.Int64

// attempts is how often a rule is tried, each time with twice the TTL, if it
// failed while this machine or the store was too slow for the TTL.
const attempts = 4

// execute runs the rule until an attempt counts, and reports to tb.
func execute(tb TB, rule Rule, newHarness func(TB) Harness) Result {
	tb.Helper()
	start := time.Now()
	var discounted []string
	for i := 1; ; i++ {
		r := &run{rule: rule, outer: tb, id: fmt.Sprintf("%s/%d", rule.ID, runs.Add(1)), factor: 1 << (i - 1), limit: make(chan time.Duration, 1), done: make(chan struct{})}
		overdue := r.attempt(newHarness)
		res := r.result(time.Since(start))
		for _, l := range r.takeLogs() {
			tb.Logf("%s", l)
		}
		if res.Outcome == Fail && i < attempts && !overdue && !r.violated && r.tooSlow() {
			why := fmt.Sprintf("attempt %d does not count: with a TTL of %v something took %v. It found: %s", i, r.h.TTL, r.slowest(), strings.Join(res.Failures, "; "))
			tb.Logf("%s", why)
			discounted = append(discounted, why)
			continue
		}
		res.Discounted = discounted
		if res.Outcome == Fail {
			tb.Errorf("%s (%s) on %s failed.\nPromise: %s\n%s", rule.ID, rule.Title, res.Harness, rule.Promise, strings.Join(res.Failures, "\n"))
		}
		return res
	}
}

// attempt runs the rule once, on a goroutine of its own, so that it can be given
// up at its limit.
func (r *run) attempt(newHarness func(TB) Harness) (overdue bool) {
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(r.outer.Context()))
	defer r.cancel()
	go r.main(newHarness)
	if r.await() {
		r.checkLeaks()
		return false
	}
	r.failf("the rule did not end within its limit; what still runs:\n%s", strings.Join(labelled(r.id), "\n\n"))
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(stopPatience):
		r.failf("the rule did not end after its context was cancelled either")
	}
	return true
}

// tooSlow reports whether something that takes moments took a good part of the
// TTL: then terms expire under rules that did not mean them to.
func (r *run) tooSlow() bool { return r.slowest() > r.h.TTL/8 }

func (r *run) slowest() time.Duration { return time.Duration(r.slow.Load()) }

func (r *run) took(d time.Duration) {
	for m := r.slow.Load(); int64(d) > m && !r.slow.CompareAndSwap(m, int64(d)); m = r.slow.Load() {
	}
}

// watchClock notes how late this machine runs a goroutine.
func (r *run) watchClock() {
	step := r.h.TTL / 40
	for r.ctx.Err() == nil {
		start := time.Now()
		r.pause(step)
		r.took(time.Since(start) - step)
	}
}

// run is one execution of one rule: the TB of its harness, and the store of the
// helpers that rules are written with.
type run struct {
	rule   Rule
	outer  TB
	id     string // goroutine label
	h      Harness
	ctx    context.Context
	labels context.Context // ctx with the label of the rule's goroutines
	cancel context.CancelFunc
	factor int                // of the harness's TTL
	limit  chan time.Duration // sent once the harness is known
	done   chan struct{}

	mu       sync.Mutex
	logs     []string
	failures []string
	more     int  // failures like these that are not kept
	violated bool // a failure that no slowness can explain
	outcome  Outcome
	why      string
	cleanups []func()
	counter  int

	slow atomic.Int64 // ns; the longest call of the store, or delay of a goroutine
}

func (r *run) await() bool {
	timer := time.NewTimer(2 * time.Minute) // for the harness itself
	defer timer.Stop()
	for {
		select {
		case <-r.done:
			return true
		case d := <-r.limit:
			timer.Reset(d)
		case <-timer.C:
			return false
		}
	}
}

// main runs on the rule's own goroutine, which FailNow may end.
func (r *run) main(newHarness func(TB) Harness) {
	defer close(r.done)
	defer r.runCleanups()
	defer r.cancel()
	defer r.catch()
	r.h = newHarness(r)
	// Goroutines started from here on carry the label; what the harness shares
	// between rules it starts before.
	r.labels = pprof.WithLabels(r.ctx, pprof.Labels(labelKey, r.id))
	pprof.SetGoroutineLabels(r.labels)
	if f := r.h.faults(); len(f) > 0 {
		for _, line := range f {
			r.failf("%s", line)
		}
		return
	}
	for _, p := range r.rule.Needs {
		if reason, missing := r.h.Missing[p]; missing {
			r.settle(Missing, fmt.Sprintf("power %q: %s", p, reason))
			return
		}
	}
	d, info := r.h.NewDriver(r)
	r.Cleanup(func() { _ = d.Close() })
	if r.rule.applies != nil {
		if why := r.rule.applies(d, info); why != "" {
			r.settle(NotApplicable, why)
			return
		}
	}
	if ttl := r.h.TTL * time.Duration(r.factor); info.MaxTTL == 0 || ttl <= info.MaxTTL {
		r.h.TTL = ttl
	}
	go r.watchClock()
	r.limit <- r.rule.limit(info.WorstCaseExpiry(r.h.TTL))
	r.rule.body(r)
}

// catch turns a panic of a rule or driver into a failure, so that the report
// still names the rule. runtime.Goexit passes through.
func (r *run) catch() {
	if p := recover(); p != nil {
		buf := make([]byte, 16<<10)
		r.failf("panic: %v\n%s", p, buf[:runtime.Stack(buf, false)])
	}
}

func (r *run) runCleanups() {
	for {
		r.mu.Lock()
		n := len(r.cleanups)
		if n == 0 {
			r.mu.Unlock()
			return
		}
		f := r.cleanups[n-1]
		r.cleanups = r.cleanups[:n-1]
		r.mu.Unlock()
		func() {
			defer r.catch()
			f()
		}()
	}
}

func (r *run) settle(o Outcome, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcome, r.why = o, why
}

func (r *run) result(took time.Duration) Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := Result{Rule: r.rule.ID, Title: r.rule.Title, Harness: r.h.Name, Outcome: r.outcome, Why: r.why, Seconds: took.Seconds(), Failures: r.failures}
	if res.Outcome == "" {
		res.Outcome = Pass
	}
	if len(r.failures) > 0 {
		res.Outcome, res.Why = Fail, r.failures[0]
		if r.more > 0 {
			res.Failures = append(slices.Clone(res.Failures), fmt.Sprintf("(and %d more like these)", r.more))
		}
	}
	return res
}

func (r *run) takeLogs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.logs
	r.logs = nil
	return l
}

func (r *run) failf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	// A broken store breaks the same promise very often.
	if len(r.failures) < 10 && !slices.Contains(r.failures, text) {
		r.failures = append(r.failures, text)
	} else {
		r.more++
	}
}

// violation is a failure that counts however slow this machine is.
func (r *run) violation(format string, args ...any) {
	r.failf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violated = true
}

// The methods below make *run a TB.

func (r *run) Helper()      {}
func (r *run) Name() string { return r.outer.Name() }

func (r *run) Log(args ...any) { r.Logf("%s", strings.TrimSuffix(fmt.Sprintln(args...), "\n")) }

func (r *run) Logf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *run) Error(args ...any) { r.failf("%s", strings.TrimSuffix(fmt.Sprintln(args...), "\n")) }

func (r *run) Errorf(format string, args ...any) { r.failf(format, args...) }

func (r *run) Fatal(args ...any) { r.Error(args...); runtime.Goexit() }

func (r *run) Fatalf(format string, args ...any) { r.failf(format, args...); runtime.Goexit() }

func (r *run) FailNow() {
	if !r.Failed() {
		r.failf("FailNow was called")
	}
	runtime.Goexit()
}

func (r *run) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

func (r *run) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *run) TempDir() string { return r.outer.TempDir() }

func (r *run) Context() context.Context { return r.ctx }

// slack is how late something may happen on a busy machine.
func (r *run) slack() time.Duration { return max(minSlack, r.h.TTL/2) }

// worst is the declared worst-case expiry of the harness's TTL.
func (r *run) worst(info driver.Info) time.Duration { return info.WorstCaseExpiry(r.h.TTL) }

// group makes a new group name.
func (r *run) group() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counter++
	return fmt.Sprintf("%s-%d", strings.ToLower(r.rule.ID), r.counter)
}
