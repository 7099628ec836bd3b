package conformance

import (
	"context"
	"errors"
	"runtime/pprof"
	"slices"
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
	terms  []driver.Term // of "renew" and "resign"
}

// about reports whether the call is about the term with token.
func (c call) about(token uint64) bool {
	return slices.ContainsFunc(c.terms, func(t driver.Term) bool { return t.Token == token })
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
	deaf  bool            // the driver does not look at the caller's context, as some client libraries do not
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
	labels  context.Context // of the rule's goroutines
	nonces  *nonces         // looks after the attempts of a Backend, if not nil
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
	if f.labels != nil { // core also calls from timers, whose goroutines have none
		pprof.SetGoroutineLabels(f.labels)
	}
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
	done := ctx.Done()
	if p.deaf {
		done = nil
	}
	select {
	case deliver := <-replies:
		if p.lose {
			return errInjected
		}
		deliver()
		return nil
	case <-done:
		return ctx.Err()
	case <-f.over:
		return errInjected
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
