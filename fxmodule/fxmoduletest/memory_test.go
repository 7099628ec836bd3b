// Package fxmoduletest has the tests and examples of fxmodule over real backends,
// which fxmodule itself must not import.
package fxmoduletest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"
	"go.uber.org/fx/fxtest"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/fxmodule"
)

// eventually waits for a condition; the limit is generous, since machines are slow.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30s: %s", what)
		}
	}
}

// ledger is what the works of several applications write to. A work that runs
// beside another, or with a token that is not greater than the last, is a fault.
type ledger struct {
	mu      sync.Mutex
	running int
	last    uint64
	terms   int
	faults  []string
}

func (l *ledger) begin(term multilock.Term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terms++
	if l.running++; l.running > 1 {
		l.faults = append(l.faults, fmt.Sprintf("%v works beside another", term))
	}
	if term.Token <= l.last {
		l.faults = append(l.faults, fmt.Sprintf("%v comes after token %d", term, l.last))
	}
	l.last = term.Token
}

func (l *ledger) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.terms
}

// worker is a component whose method runs while leading.
type worker struct{ ledger *ledger }

func newWorker(l *ledger) *worker { return &worker{l} }

func (w *worker) Run(ctx context.Context, term multilock.Term) error {
	w.ledger.begin(term)
	defer w.ledger.end()
	<-ctx.Done()
	return nil
}

// handOver runs two applications with the same election; the second takes over
// when the first stops, and the first again when it is back.
func handOver(t *testing.T, election fx.Option) {
	l := &ledger{}
	start := func() (*fxtest.App, *multilock.Elector) {
		var e *multilock.Elector
		app := fxtest.New(t, fx.Supply(l), fx.Provide(newWorker), election, fxmodule.WhileLeader((*worker).Run), fx.Populate(&e))
		app.RequireStart()
		return app, e
	}
	one, first := start()
	eventually(t, "the first works", func() bool { return l.count() == 1 })
	two, second := start()
	if !first.IsLeader() || second.IsLeader() {
		t.Errorf("first leads %v, second leads %v", first.IsLeader(), second.IsLeader())
	}
	if rec, err := second.Leader(t.Context()); err != nil || rec.Participant != first.ParticipantID() {
		t.Errorf("the second sees %v, %v", rec.Term, err)
	}
	one.RequireStop()
	eventually(t, "the second works", func() bool { return l.count() == 2 })
	three, third := start()
	two.RequireStop()
	eventually(t, "the third works", func() bool { return l.count() == 3 })
	if !third.IsLeader() {
		t.Error("the third does not lead")
	}
	three.RequireStop()
	if l.running != 0 {
		t.Errorf("%d works outlived their applications", l.running)
	}
	for _, f := range l.faults {
		t.Error(f)
	}
}

func TestHandOverOnMemory(t *testing.T) {
	handOver(t, fxmodule.AddLeaderElection(memory.Open, memory.Options{Store: memory.NewStore()}, multilock.Options{Group: "g"}))
}

// TestLossOfTheRecord shows that the work ends with its term and begins again with
// the next.
func TestLossOfTheRecord(t *testing.T) {
	store, l := memory.NewStore(), &ledger{}
	app := fxtest.New(t, fx.Supply(l), fx.Provide(newWorker),
		fxmodule.AddLeaderElection(memory.Open, memory.Options{Store: store}, multilock.Options{Group: "g", HeartbeatTimeout: 600 * time.Millisecond}),
		fxmodule.WhileLeader((*worker).Run),
	)
	app.RequireStart()
	eventually(t, "works", func() bool { return l.count() == 1 })
	store.Remove("g")
	eventually(t, "works again", func() bool { return l.count() == 2 })
	app.RequireStop()
	for _, f := range l.faults {
		t.Error(f)
	}
}

// TestStopWhileCampaigning stops an application that never led.
func TestStopWhileCampaigning(t *testing.T) {
	election := fxmodule.AddLeaderElection(memory.Open, memory.Options{Store: memory.NewStore()}, multilock.Options{Group: "g"})
	var e *multilock.Elector
	leader := fxtest.New(t, election, fx.Populate(&e)).RequireStart()
	eventually(t, "leads", e.IsLeader)
	fxtest.New(t, election).RequireStart().RequireStop()
	if !e.IsLeader() {
		t.Error("a follower that stopped ended the term of the leader")
	}
	leader.RequireStop()
}

func TestBadBackendOptionsFailTheStart(t *testing.T) {
	err := fx.New(fx.NopLogger, fxmodule.AddLeaderElection(memory.Open, memory.Options{Name: "a/b"}, multilock.Options{Group: "g"})).Err()
	if err == nil {
		t.Fatal("accepted")
	}
}
