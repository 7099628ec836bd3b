package clientgolock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

var (
	// ErrRelease refuses to release a lease whose work may still run; see Lock.Guard
	// and Options.ReleaseAfterWork. The lease expires by itself.
	ErrRelease = errors.New("clientgolock: not released, since the work may still run")
	// ErrSettling refuses a new term while client-go may still believe in, or guarded
	// work still runs for, one that ended.
	ErrSettling = errors.New("clientgolock: an earlier term has not come to rest")
	// ErrLate says that a success took so long that the rest of the lease does not
	// cover what client-go would believe because of it.
	ErrLate = errors.New("clientgolock: the answer came too late to rely on")
)

// Lock is a resourcelock.Interface over a backend. One Lock serves one LeaderElector
// at a time; its methods may be called concurrently.
type Lock struct {
	b        *multilock.Backend
	e        *multilock.Elector
	o        Options
	identity string
	metadata map[string]string
	margin   time.Duration
	need     time.Duration // how long client-go may believe after an answer
	spare    time.Duration // how long a request may take for its success to be relied on

	calls sync.Mutex // one request that changes the record at a time

	mu        sync.Mutex
	nonce     driver.Nonce   // of an attempt without a certain answer; zero without one
	term      multilock.Term // a zero Nonce without one
	sent      time.Time      // before the request that was confirmed last
	lasts     time.Duration  // how long the term can be relied on from then
	told      time.Time      // when client-go was last told that it leads
	over      time.Time      // when a term ended other than by client-go's word; zero without one
	stopped   bool           // client-go said since the last success that it has stopped leading
	guarded   bool           // Guard is used
	releasing bool
	works     map[*context.CancelCauseFunc]struct{}
	idle      chan struct{} // closed while no guarded work runs
}

var _ resourcelock.Interface = (*Lock)(nil)

// Identity implements resourcelock.Interface.
func (l *Lock) Identity() string { return l.identity }

// Describe implements resourcelock.Interface.
func (l *Lock) Describe() string { return l.o.Group + " on " + l.b.String() }

// RecordEvent implements resourcelock.Interface; it logs.
func (l *Lock) RecordEvent(s string) {
	if s == "stopped leading" {
		l.mu.Lock()
		l.stopped = true
		l.mu.Unlock()
	}
	l.o.Logger.Info("clientgolock: "+l.identity+" "+s, "group", l.o.Group)
}

// Term returns the term held, with its fencing token, and false without one that can
// be relied on at this very moment. It looks at the clocks and does no I/O.
func (l *Lock) Term() (multilock.Term, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leads() || l.lasts-elapsed(l.sent) <= 0 {
		return multilock.Term{}, false
	}
	return l.term, true
}

// elapsed is the time since t by the clock that says more: the monotonic one stops in
// a suspend, the wall clock may be set back.
func elapsed(t time.Time) time.Duration {
	now := time.Now()
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// leads reports whether client-go may believe in the term; mu is held.
func (l *Lock) leads() bool { return !l.term.Nonce.IsZero() && time.Since(l.told) <= l.need }

// Get implements resourcelock.Interface. The record changes whenever it is read, so
// that client-go never takes a live lease for expired: the store knows better. If none
// is live it is not found. LeaderTransitions is the fencing token.
func (l *Lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	rec, err := l.e.Leader(ctx)
	if errors.Is(err, multilock.ErrNoLeader) {
		return nil, nil, apierrors.NewNotFound(schema.GroupResource{Group: "multilock", Resource: "leader"}, l.o.Group)
	} else if err != nil {
		return nil, nil, err
	}
	holder := rec.Participant
	l.mu.Lock()
	own := l.leads() && rec.Token == l.term.Token
	l.mu.Unlock()
	if holder == l.identity && !own { // a process of the same name, or an earlier life of this one
		holder += " (another term)"
	}
	out := &resourcelock.LeaderElectionRecord{
		HolderIdentity: holder, LeaseDurationSeconds: int(l.o.LeaseDuration / time.Second),
		AcquireTime: metav1.NewTime(rec.AcquiredAt), RenewTime: metav1.Now(), LeaderTransitions: int(rec.Token),
	}
	raw, err := json.Marshal(struct {
		*resourcelock.LeaderElectionRecord
		Read int64 `json:"read"` // metav1.Time has whole seconds
	}{out, time.Now().UnixNano()})
	return out, raw, err
}

// Create implements resourcelock.Interface: one attempt to begin a term.
func (l *Lock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if err := l.check(r); err != nil {
		return err
	}
	l.calls.Lock()
	defer l.calls.Unlock()
	return l.acquire(ctx)
}

// Update implements resourcelock.Interface: it renews the term held, begins one if
// there is none, or for a record without a holder releases it.
func (l *Lock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	if r.HolderIdentity == "" {
		l.calls.Lock()
		defer l.calls.Unlock()
		return l.release(ctx)
	}
	if err := l.check(r); err != nil {
		return err
	}
	l.calls.Lock()
	defer l.calls.Unlock()
	l.mu.Lock()
	leads, term := l.leads(), l.term
	l.mu.Unlock()
	if leads {
		return l.renew(ctx, term)
	}
	return l.acquire(ctx)
}

func (l *Lock) check(r resourcelock.LeaderElectionRecord) error {
	if r.HolderIdentity != l.identity {
		return fmt.Errorf("clientgolock: the holder is %q; this lock acts for %s alone", r.HolderIdentity, l.identity)
	}
	if want := int(l.o.LeaseDuration / time.Second); r.LeaseDurationSeconds != want {
		return fmt.Errorf("clientgolock: client-go's LeaseDuration of %d s is not that of Options, %v: give both the same three durations",
			r.LeaseDurationSeconds, l.o.LeaseDuration)
	}
	return nil
}

func (l *Lock) acquire(ctx context.Context) error {
	l.mu.Lock()
	if !l.term.Nonce.IsZero() { // client-go gave it up without a word, or was stopped for long
		l.end(multilock.ErrExpired)
		l.over = time.Now()
	}
	// Within the call that renews, client-go would take a new term for the old one. It
	// ends that call a RenewDeadline after its first failure, and says so; should it
	// say so in other words some day, the time has to do.
	settling := len(l.works) > 0 || recent(l.told, l.need) || !l.stopped && recent(l.over, l.need)
	if !settling && l.nonce.IsZero() {
		l.nonce = driver.NewNonce()
	}
	nonce := l.nonce
	l.mu.Unlock()
	if settling {
		return ErrSettling
	}
	sent := time.Now()
	g, err := ask(ctx, l.spare, func(ctx context.Context) (driver.Grant, error) {
		return l.b.Driver().Acquire(ctx, driver.AcquireRequest{
			Group: l.o.Group, Participant: l.identity, Nonce: nonce, TTL: l.o.LeaseDuration, Metadata: l.metadata,
		})
	})
	if err != nil {
		if certain(err) { // otherwise it may still be executed, and is sent again
			l.mu.Lock()
			l.nonce = driver.Nonce{}
			l.mu.Unlock()
		}
		return l.wrap("acquire", err)
	}
	term := multilock.Term{Group: l.o.Group, Participant: l.identity, Token: g.Token, Nonce: nonce}
	l.mu.Lock()
	l.nonce, l.releasing = driver.Nonce{}, false
	ok := l.confirm(term, sent, g.Granted)
	l.mu.Unlock()
	if !ok { // nobody was told, so it can go at once
		_, _ = ask(ctx, l.spare, func(ctx context.Context) (struct{}, error) { return struct{}{}, l.b.Driver().Resign(ctx, term) })
		return ErrLate
	}
	return nil
}

// recent reports whether t was set and is no longer than d ago.
func recent(t time.Time, d time.Duration) bool { return !t.IsZero() && time.Since(t) <= d }

func (l *Lock) renew(ctx context.Context, term multilock.Term) error {
	sent := time.Now()
	granted, err := ask(ctx, l.spare, func(ctx context.Context) (time.Duration, error) {
		answers := make(chan driver.RenewResult, 1)
		l.b.Driver().Renew(ctx, []driver.RenewRequest{{Term: term, TTL: l.o.LeaseDuration}}, func(r driver.RenewResult) { answers <- r })
		select {
		case r := <-answers:
			return r.Granted, r.Err
		default:
			return 0, errors.New("no answer")
		}
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, multilock.ErrLost):
		l.end(err)
		l.over = time.Now()
	case err == nil && !l.confirm(term, sent, granted):
		err = ErrLate // a later renewal may still be in time
	}
	return l.wrap("renew", err)
}

// confirm takes a success into account if client-go can rely on it; mu is held.
func (l *Lock) confirm(term multilock.Term, sent time.Time, granted time.Duration) bool {
	lasts := min(l.o.LeaseDuration, granted) - l.margin
	if lasts-elapsed(sent) < l.need {
		return false
	}
	l.term, l.sent, l.lasts, l.told, l.stopped = term, sent, lasts, time.Now(), false
	return true
}

// end forgets the term and ends guarded work; mu is held.
func (l *Lock) end(cause error) {
	l.term = multilock.Term{}
	for cancel := range l.works {
		(*cancel)(cause)
	}
}

func (l *Lock) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &multilock.OpError{Backend: l.b.Info().Name, Op: op, Group: l.o.Group, Err: err}
}

// certain reports whether an attempt was answered for good.
func certain(err error) bool {
	var held *multilock.HeldError
	return errors.As(err, &held) || errors.Is(err, driver.ErrResigned) || errors.Is(err, driver.ErrNotApplied) ||
		errors.Is(err, multilock.ErrMisconfigured) || errors.Is(err, multilock.ErrClosed)
}

// ask abandons a call when ctx ends or limit has passed, even if it does not return.
func ask[T any](ctx context.Context, limit time.Duration, do func(ctx context.Context) (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers := make(chan answer, 1)
	go func() {
		v, err := do(ctx)
		answers <- answer{v, err}
	}()
	select {
	case a := <-answers:
		return a.v, a.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}
