package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// believer's work is told nothing but a planned stop.
type believer struct {
	elector
	working atomic.Bool
}

func (e *believer) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	return e.elector.Run(ctx, func(term context.Context, t multilock.Term) error {
		e.working.Store(true)
		defer e.working.Store(false)
		deaf, cancel := context.WithCancel(context.WithoutCancel(term))
		defer cancel()
		defer context.AfterFunc(ctx, cancel)() // only the end of Run stops it
		return work(deaf, t)
	})
}

func (e *believer) IsLeader() bool { return e.working.Load() || e.elector.IsLeader() }

// lateCancel lets the work go on for a while after its term.
type lateCancel struct{ elector }

func (e *lateCancel) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	return e.elector.Run(ctx, func(term context.Context, t multilock.Term) error {
		late, cancel := context.WithCancel(context.WithoutCancel(term))
		go func() {
			<-term.Done()
			time.Sleep(3 * time.Second)
			cancel()
		}()
		return within(term, func() error { return work(late, t) })
	})
}

// within returns when ctx ends, whether or not f has returned.
func within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return nil
	}
}

// earlyResign gives the lease back before anything else.
type earlyResign struct {
	elector
	b *multilock.Backend
}

func (e *earlyResign) giveBack() {
	if t, ok := e.Term(); ok {
		_ = e.b.Driver().Resign(context.Background(), t)
	}
}

func (e *earlyResign) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		e.giveBack()
		time.Sleep(50 * time.Millisecond)
		cancel()
	})()
	return e.elector.Run(inner, work)
}

func (e *earlyResign) Resign(ctx context.Context) error {
	e.giveBack()
	return e.elector.Resign(ctx)
}

func (e *earlyResign) Stop(ctx context.Context) error {
	e.giveBack()
	return e.elector.Stop(ctx)
}

// reviver's term comes back to life.
type reviver struct {
	elector
	mu   sync.Mutex
	last multilock.Term
	at   time.Time
}

func (e *reviver) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	return e.elector.Run(ctx, func(ctx context.Context, t multilock.Term) error {
		err := work(ctx, t)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.last, e.at = t, time.Now()
		return err
	})
}

func (e *reviver) Term() (multilock.Term, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := time.Since(e.at); d > 200*time.Millisecond && d < 400*time.Millisecond {
		return e.last, true
	}
	return e.elector.Term()
}

// impatient does not wait for the work to return.
type impatient struct{ elector }

func (e *impatient) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	return e.elector.Run(ctx, func(ctx context.Context, t multilock.Term) error {
		return within(ctx, func() error { return work(ctx, t) })
	})
}

// once runs one work and no more.
type once struct{ elector }

func (e *once) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	return e.elector.Run(inner, func(ctx context.Context, t multilock.Term) error {
		defer func() {
			cancel()
			time.Sleep(10 * time.Millisecond) // until Run has noticed
		}()
		return work(ctx, t)
	})
}

// greedy tries again at once.
type greedy struct{ elector }

func (e *greedy) Resign(ctx context.Context) error {
	err := e.elector.Resign(ctx)
	_, _ = e.TryAcquire(ctx)
	return err
}

type chatty struct {
	elector
	o multilock.Options
}

func (e *chatty) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	return e.elector.Run(ctx, func(ctx context.Context, t multilock.Term) error {
		if e.o.Logger != nil {
			e.o.Logger.Info("leading")
		}
		return work(ctx, t)
	})
}

type swallower struct{ elector }

func (e *swallower) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	return e.elector.Run(ctx, func(ctx context.Context, t multilock.Term) (err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("recovered: %v", p)
			}
		}()
		return work(ctx, t)
	})
}

type zombie struct {
	elector
	b *multilock.Backend
	o multilock.Options
}

func (e *zombie) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	err := e.elector.Run(ctx, work)
	go func() { // an attempt nobody takes back
		time.Sleep(10 * time.Millisecond)
		_, _ = e.b.Driver().Acquire(context.Background(), driver.AcquireRequest{Group: e.o.Group, Participant: "zombie", Nonce: driver.NewNonce(), TTL: time.Hour})
	}()
	return err
}

// poller asks the store every 20 ms.
type poller struct {
	elector
	b *multilock.Backend
	o multilock.Options
}

func (e *poller) poll(ctx context.Context) {
	for ctx.Err() == nil {
		if !e.IsLeader() {
			if won, _ := e.TryAcquire(ctx); won {
				continue
			}
		} else {
			_, _ = e.b.Driver().Leader(ctx, e.o.Group)
		}
		pause(ctx, 20*time.Millisecond)
	}
}

func (e *poller) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	go e.poll(ctx)
	return e.elector.Run(ctx, work)
}

func (e *poller) Start(ctx context.Context) error {
	err := e.elector.Start(ctx)
	run, cancel := context.WithCancel(context.Background())
	go e.poll(run)
	stopped := e.Changes(run, multilock.Stopped)
	go func() {
		for range stopped {
			break
		}
		cancel()
	}()
	return err
}

// naive is an elector as one writes it in an afternoon. Its belief counts from
// the reply.
type naive struct {
	elector
	b      *multilock.Backend
	o      multilock.Options
	hasty  bool // renewals have little time and are not repeated meanwhile
	touchy bool // the first error ends the term

	stubborn bool // no error ends the term
	confused bool // a loss ends whatever term there is
	tells    bool // the observer is called before each renewal

	leading atomic.Bool
	mu      sync.Mutex
	current context.CancelFunc
}

// lost ends a term, or the one that is there now.
func (e *naive) lost(cancel context.CancelFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.confused {
		cancel = e.current
	}
	cancel()
}

func (e *naive) IsLeader() bool { return e.leading.Load() }

func (e *naive) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	d, ttl := e.b.Driver(), e.o.HeartbeatTimeout
	for ctx.Err() == nil {
		nonce := driver.NewNonce()
		g, err := d.Acquire(ctx, driver.AcquireRequest{Group: e.o.Group, Participant: e.o.ParticipantID, Nonce: nonce, TTL: ttl})
		if err != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		t := driver.Term{Group: e.o.Group, Participant: e.o.ParticipantID, Token: g.Token, Nonce: nonce}
		term, cancel := context.WithCancel(ctx)
		e.mu.Lock()
		e.current = cancel
		e.mu.Unlock()
		over := time.AfterFunc(ttl, cancel)
		go func() {
			for term.Err() == nil {
				pause(term, ttl/5)
				if e.tells {
					e.o.Observer.Observe(multilock.Observation{})
				}
				limit := ttl
				if e.hasty {
					limit = ttl / 10
				}
				one, done := context.WithTimeout(term, limit)
				d.Renew(one, []driver.RenewRequest{{Term: t, TTL: ttl}}, func(res driver.RenewResult) {
					switch {
					case res.Err == nil:
						over.Reset(ttl)
					case e.touchy || errors.Is(res.Err, driver.ErrLost) && !e.stubborn:
						e.lost(cancel)
					}
				})
				done()
			}
		}()
		e.leading.Store(true)
		err = work(term, t)
		e.leading.Store(false)
		cancel()
		last, done := context.WithTimeout(context.WithoutCancel(ctx), ttl)
		_ = d.Resign(last, t)
		done()
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// reuser sends its attempt again when the term has resigned.
type reuser struct {
	elector
	b *multilock.Backend
	o multilock.Options
}

func (e *reuser) Resign(ctx context.Context) error {
	t, ok := e.Term()
	err := e.elector.Resign(ctx)
	if ok {
		_, _ = e.b.Driver().Acquire(ctx, driver.AcquireRequest{Group: t.Group, Participant: t.Participant, Nonce: t.Nonce, TTL: e.o.HeartbeatTimeout})
	}
	return err
}

// undead renews a term for as long as Run lasts, whatever became of it, or from
// when Stop has given its work up.
type undead struct {
	elector
	b      *multilock.Backend
	o      multilock.Options
	onStop bool
}

func (e *undead) renew(ctx context.Context, t multilock.Term) {
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, e.o.HeartbeatTimeout/5)
		e.b.Driver().Renew(one, []driver.RenewRequest{{Term: t, TTL: e.o.HeartbeatTimeout}}, func(driver.RenewResult) {})
		cancel()
		pause(ctx, e.o.HeartbeatTimeout/5)
	}
}

func (e *undead) Run(ctx context.Context, work func(context.Context, multilock.Term) error) error {
	return e.elector.Run(ctx, func(term context.Context, t multilock.Term) error {
		during := ctx // of the campaign
		if e.onStop { // of the work alone
			var cancel context.CancelFunc
			during, cancel = context.WithCancel(context.WithoutCancel(ctx))
			defer cancel()
		}
		go e.renew(during, t)
		return work(term, t)
	})
}
