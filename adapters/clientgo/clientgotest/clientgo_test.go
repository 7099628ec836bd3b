// Package clientgotest runs client-go's real leader election over the adapter.
package clientgotest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	clientgolock "github.com/multilock/multilock-go/adapters/clientgo"
	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// The timing of the tests: client-go believes for 2 s after an answer.
const (
	lease  = 3 * time.Second
	renew  = 1500 * time.Millisecond
	retry  = 500 * time.Millisecond
	belief = renew + retry
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30s: %s", what)
		}
	}
}

// flaky is a driver whose network can be cut: requests then hang until they are given up.
type flaky struct {
	driver.Driver
	mu  sync.Mutex
	cut bool
}

func (f *flaky) set(cut bool) { f.mu.Lock(); defer f.mu.Unlock(); f.cut = cut }

func (f *flaky) pass(ctx context.Context) error {
	f.mu.Lock()
	cut := f.cut
	f.mu.Unlock()
	if cut {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *flaky) Acquire(ctx context.Context, r driver.AcquireRequest) (driver.Grant, error) {
	if err := f.pass(ctx); err != nil {
		return driver.Grant{}, err
	}
	return f.Driver.Acquire(ctx, r)
}

func (f *flaky) Renew(ctx context.Context, r []driver.RenewRequest, report func(driver.RenewResult)) {
	if f.pass(ctx) == nil {
		f.Driver.Renew(ctx, r, report)
	}
}

func (f *flaky) Resign(ctx context.Context, t driver.Term) error {
	if err := f.pass(ctx); err != nil {
		return err
	}
	return f.Driver.Resign(ctx, t)
}

func (f *flaky) Leader(ctx context.Context, group string) (driver.Record, error) {
	if err := f.pass(ctx); err != nil {
		return driver.Record{}, err
	}
	return f.Driver.Leader(ctx, group)
}

func backend(t *testing.T, store *memory.Store) (*multilock.Backend, *flaky) {
	t.Helper()
	d, info, err := memory.NewDriver(memory.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	f := &flaky{Driver: d}
	info.PushOnResign, info.PushOnExpiry = false, false // flaky passes only the methods of driver.Driver on
	b, err := multilock.NewBackend(f, info)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b, f
}

func lock(t *testing.T, b *multilock.Backend, change func(*clientgolock.Options)) *clientgolock.Lock {
	t.Helper()
	o := clientgolock.Options{Group: "controller", LeaseDuration: lease, RenewDeadline: renew, RetryPeriod: retry}
	if change != nil {
		change(&o)
	}
	l, err := clientgolock.New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// leadership is one call of OnStartedLeading.
type leadership struct {
	who        string
	token      uint64
	begin, end time.Time
	cause      error
}

type journal struct {
	mu  sync.Mutex
	all []*leadership
}

func (j *journal) count() int { j.mu.Lock(); defer j.mu.Unlock(); return len(j.all) }

func (j *journal) over(i int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.all) > i && !j.all[i].end.IsZero()
}

// check fails if two leaderships overlap or a token does not grow.
func (j *journal) check(t *testing.T) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := 1; i < len(j.all); i++ {
		a, b := j.all[i-1], j.all[i]
		if a.end.IsZero() || b.begin.Before(a.end) {
			t.Errorf("%s began at %v, before %s ended at %v", b.who, b.begin, a.who, a.end)
		}
		if b.token <= a.token {
			t.Errorf("token %d after %d", b.token, a.token)
		}
	}
}

func (j *journal) work(who string, drain time.Duration) func(ctx context.Context, term multilock.Term) {
	return func(ctx context.Context, term multilock.Term) {
		l := &leadership{who: who, token: term.Token, begin: time.Now()}
		j.mu.Lock()
		j.all = append(j.all, l)
		j.mu.Unlock()
		<-ctx.Done()
		time.Sleep(drain)
		j.mu.Lock()
		l.end, l.cause = time.Now(), context.Cause(ctx)
		j.mu.Unlock()
	}
}

// elect runs client-go's election until the returned function is called; again does so
// after each end of a leadership, as a program would that does not exit.
func elect(t *testing.T, l *clientgolock.Lock, callback func(context.Context), again bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
				Lock: l, LeaseDuration: lease, RenewDeadline: renew, RetryPeriod: retry, ReleaseOnCancel: true,
				Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: callback, OnStoppedLeading: func() {}},
			})
			if err != nil {
				t.Error(err)
				return
			}
			if e.Run(ctx); ctx.Err() != nil || !again {
				return
			}
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func TestGuardedWorkHandsOverAtOnce(t *testing.T) {
	store, j := memory.NewStore(), &journal{}
	b, _ := backend(t, store)
	one, two := lock(t, b, nil), lock(t, b, nil)
	stopOne := elect(t, one, one.Guard(j.work("one", 200*time.Millisecond)), false)
	eventually(t, "one leads", func() bool { return j.count() == 1 })
	term, ok := one.Term()
	if !ok {
		t.Error("one has no term")
	}
	stopTwo := elect(t, two, two.Guard(j.work("two", 0)), false)
	time.Sleep(lease + retry) // renewals keep it
	if now, ok := one.Term(); !ok || now != term || j.count() != 1 {
		t.Errorf("one has %v, %v after several renewals", now, ok)
	}
	stopOne()
	stopped := time.Now()
	eventually(t, "two leads", func() bool { return j.count() == 2 })
	if took := time.Since(stopped); took > lease-belief/2+5*retry { // polling at RetryPeriod with jitter, and a slow machine
		t.Errorf("two needed %v after a release", took)
	}
	stopTwo()
	j.check(t)
}

// TestUnguardedWorkIsNotReleased leaves the lease to expire.
func TestUnguardedWorkIsNotReleased(t *testing.T) {
	b, _ := backend(t, memory.NewStore())
	one := lock(t, b, nil)
	led := make(chan struct{})
	stop := elect(t, one, func(context.Context) { close(led) }, false)
	<-led
	stop()
	if rec, err := b.Leader(t.Context(), "controller"); err != nil || rec.Participant != one.Identity() {
		t.Errorf("the lease was released under unguarded work: %v, %v", rec.Term, err)
	}
	over := lock(t, b, func(o *clientgolock.Options) { o.Group, o.ReleaseAfterWork = "other", true })
	led = make(chan struct{})
	stop = elect(t, over, func(context.Context) { close(led) }, false)
	<-led
	stop()
	if rec, err := b.Leader(t.Context(), "other"); !errors.Is(err, multilock.ErrNoLeader) {
		t.Errorf("not released although ReleaseAfterWork is set: %v, %v", rec.Term, err)
	}
}

// TestACutLeaderStopsBeforeItsSuccessorBegins cuts the leader's network.
func TestACutLeaderStopsBeforeItsSuccessorBegins(t *testing.T) {
	store, j := memory.NewStore(), &journal{}
	b1, net := backend(t, store)
	b2, _ := backend(t, store)
	one, two := lock(t, b1, nil), lock(t, b2, nil)
	stopOne := elect(t, one, one.Guard(j.work("one", 0)), false)
	eventually(t, "one leads", func() bool { return j.count() == 1 })
	stopTwo := elect(t, two, two.Guard(j.work("two", 0)), false)
	net.set(true)
	eventually(t, "two leads", func() bool { return j.count() == 2 })
	eventually(t, "one is over", func() bool { return j.over(0) })
	net.set(false)
	stopOne()
	stopTwo()
	j.check(t)
}

// TestALostTermIsNotContinuedInSilence removes the record. client-go would take a new
// lease and go on with the old work; the adapter lets it notice.
func TestALostTermIsNotContinuedInSilence(t *testing.T) {
	store, j := memory.NewStore(), &journal{}
	b, _ := backend(t, store)
	one := lock(t, b, nil)
	stop := elect(t, one, one.Guard(j.work("one", 0)), true)
	eventually(t, "leads", func() bool { return j.count() == 1 })
	store.Remove("controller")
	eventually(t, "the work is told", func() bool { return j.over(0) })
	eventually(t, "leads anew", func() bool { return j.count() == 2 })
	j.mu.Lock()
	if !errors.Is(j.all[0].cause, multilock.ErrLost) {
		t.Errorf("the work ended with %v", j.all[0].cause)
	}
	j.mu.Unlock()
	stop()
	j.check(t)
}

// TestIdentityProvesNothing has two locks of one identity.
func TestIdentityProvesNothing(t *testing.T) {
	b, _ := backend(t, memory.NewStore())
	same := func(o *clientgolock.Options) { o.Identity = "pod" }
	one, two := lock(t, b, same), lock(t, b, same)
	ler := resourcelock.LeaderElectionRecord{HolderIdentity: "pod", LeaseDurationSeconds: 3}
	if _, _, err := one.Get(t.Context()); !apierrors.IsNotFound(err) {
		t.Errorf("Get without a leader = %v", err)
	}
	if err := one.Create(t.Context(), ler); err != nil {
		t.Fatal(err)
	}
	rec, raw, err := one.Get(t.Context())
	if err != nil || rec.HolderIdentity != "pod" || rec.LeaderTransitions == 0 {
		t.Errorf("the holder sees %v, %v", rec, err)
	}
	if _, again, _ := one.Get(t.Context()); string(again) == string(raw) {
		t.Error("a record that is read twice looks like that of a dead leader")
	}
	if rec, _, err := two.Get(t.Context()); err != nil || rec.HolderIdentity == "pod" {
		t.Errorf("another process of the same name takes itself for the holder: %v, %v", rec, err)
	}
	var held *multilock.HeldError
	if err := two.Update(t.Context(), ler); !errors.As(err, &held) {
		t.Errorf("Update by another process of the same name = %v", err)
	}
	if err := two.Create(t.Context(), ler); !errors.As(err, &held) {
		t.Errorf("Create by another process of the same name = %v", err)
	}
	if err := one.Update(t.Context(), ler); err != nil {
		t.Errorf("renewal by the holder = %v", err)
	}
	if err := one.Update(t.Context(), resourcelock.LeaderElectionRecord{LeaseDurationSeconds: 1}); !errors.Is(err, clientgolock.ErrRelease) {
		t.Errorf("release = %v", err)
	}
	for _, bad := range []resourcelock.LeaderElectionRecord{{HolderIdentity: "x", LeaseDurationSeconds: 3}, {HolderIdentity: "pod", LeaseDurationSeconds: 15}} {
		if err := one.Update(t.Context(), bad); err == nil {
			t.Errorf("accepted %v", bad)
		}
	}
}

// TestALateAnswerIsNoSuccess delays the reply of an acquire for longer than the lease
// can spare.
func TestALateAnswerIsNoSuccess(t *testing.T) {
	b, net := backend(t, memory.NewStore())
	l := lock(t, b, nil)
	ler := resourcelock.LeaderElectionRecord{HolderIdentity: l.Identity(), LeaseDurationSeconds: 3}
	net.set(true)
	begin := time.Now()
	if err := l.Create(t.Context(), ler); err == nil {
		t.Fatal("a success without an answer")
	}
	if took := time.Since(begin); took > lease-belief+5*time.Second {
		t.Errorf("waited %v for an answer that could not be relied on", took)
	}
	net.set(false)
	if err := l.Create(t.Context(), ler); err != nil {
		t.Errorf("the next attempt = %v", err)
	}
}

func TestDurationsThatAreNotSafeAreRefused(t *testing.T) {
	b, _ := backend(t, memory.NewStore())
	for i, o := range []clientgolock.Options{
		{Group: "g", LeaseDuration: 15 * time.Second, RenewDeadline: 14 * time.Second, RetryPeriod: 2 * time.Second},
		{Group: "g", LeaseDuration: 12 * time.Second},
		{Group: "g", RetryPeriod: 5 * time.Second},
		{Group: "g", RenewDeadline: -time.Second},
		{Group: "a/b"},
		{},
	} {
		_, err := clientgolock.New(b, o)
		if !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("%d: %v", i, err)
		}
		if i == 0 && !strings.Contains(fmt.Sprint(err), "must be at least 17.5s") {
			t.Errorf("the error does not say what would do: %v", err)
		}
	}
	if _, err := clientgolock.New(b, clientgolock.Options{Group: "g"}); err != nil {
		t.Errorf("the defaults of Kubernetes are refused: %v", err)
	}
}
