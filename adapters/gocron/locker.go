package gocronlock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-co-op/gocron/v2"

	multilock "github.com/multilock/multilock-go/core"
)

// ErrLocked says that another instance runs the job, or ran it less than Hold ago.
var ErrLocked = errors.New("gocronlock: the job is locked by another instance")

// DefaultHold is the default of LockerOptions.Hold.
const DefaultHold = 5 * time.Second

// LockerOptions configure a Locker. The zero value is usable.
type LockerOptions struct {
	// Prefix comes before the job's name in the group. Default "gocron"; 1 to 100
	// characters of A-Z a-z 0-9 _ . -
	Prefix string
	// Hold is the least time a lock is kept, counted from its acquisition, even if
	// the job is over sooner: it must be longer than the clocks of the instances are
	// apart, or a short job runs once per instance, and shorter than the interval
	// between two runs. Default 5 s; a negative value means none.
	Hold time.Duration
	// Election has the timing, logger and observer of the locks. Group, Metadata and
	// ManualStart are ignored.
	Election multilock.Options
}

// Locker is a gocron.Locker: one group for each name of a job. Its methods may be
// called concurrently.
type Locker struct {
	b *multilock.Backend
	o LockerOptions

	mu     sync.Mutex
	held   map[string]*lock // by the name of the job
	closed bool
}

var _ gocron.Locker = (*Locker)(nil)

// NewLocker returns a Locker. It does no I/O. Close it after the scheduler was shut
// down and before the backend is closed.
func NewLocker(b *multilock.Backend, o LockerOptions) (*Locker, error) {
	if o.Prefix == "" {
		o.Prefix = "gocron"
	}
	if len(o.Prefix) > 100 {
		return nil, &multilock.InvalidError{Field: "LockerOptions.Prefix", Value: o.Prefix, Allowed: "must be at most 100 characters long"}
	}
	if o.Hold == 0 {
		o.Hold = DefaultHold
	}
	l := &Locker{b: b, o: o, held: make(map[string]*lock)}
	if _, err := l.elector("check"); err != nil { // a fault shows now and not in the first job
		return nil, err
	}
	return l, nil
}

func (l *Locker) elector(key string) (*multilock.Elector, error) {
	o := l.o.Election
	o.Group = l.o.Prefix + "." + encode(key)
	return multilock.New(l.b, o)
}

// Lock implements gocron.Locker with one attempt: it never waits for the holder. The
// lock is kept alive until Unlock, however long the job takes, and ends with its
// time-to-live if the process dies.
func (l *Locker) Lock(ctx context.Context, key string) (gocron.Lock, error) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return nil, multilock.ErrClosed
	}
	e, err := l.elector(key)
	if err != nil {
		return nil, err
	}
	switch won, err := e.TryAcquire(ctx); {
	case err != nil:
		return nil, err
	case !won:
		return nil, fmt.Errorf("%w: %s", ErrLocked, key)
	}
	k := &lock{l: l, e: e, key: key, until: time.Now().Add(l.o.Hold)}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, errors.Join(multilock.ErrClosed, e.Stop(ctx))
	}
	l.held[key] = k
	l.mu.Unlock()
	return k, nil
}

// Term returns the term of the lock on the job of this name that this Locker holds at
// this very moment, for its fencing token.
func (l *Locker) Term(key string) (multilock.Term, bool) {
	l.mu.Lock()
	k := l.held[key]
	l.mu.Unlock()
	if k == nil {
		return multilock.Term{}, false
	}
	return k.e.Term()
}

// Close releases what is still held, for Hold or by a job, and refuses new locks.
func (l *Locker) Close(ctx context.Context) error {
	l.mu.Lock()
	l.closed = true
	held := l.held
	l.held = make(map[string]*lock)
	l.mu.Unlock()
	var errs []error
	for _, k := range held {
		errs = append(errs, k.release(ctx))
	}
	return errors.Join(errs...)
}

// lock is one lock of one run.
type lock struct {
	l     *Locker
	e     *multilock.Elector
	key   string
	until time.Time

	mu    sync.Mutex
	timer *time.Timer
}

// Unlock implements gocron.Lock. Before the end of Hold it leaves the lock to be
// released then. The error is multilock.ErrLost if the lock was lost during the job.
func (k *lock) Unlock(ctx context.Context) error {
	if !k.e.IsLeader() {
		return errors.Join(multilock.ErrLost, k.release(ctx))
	}
	if left := time.Until(k.until); left > 0 {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.timer == nil {
			k.timer = time.AfterFunc(left, func() { _ = k.release(context.Background()) }) // the elector logs a failure
		}
		return nil
	}
	return k.release(ctx)
}

func (k *lock) release(ctx context.Context) error {
	k.mu.Lock()
	if k.timer != nil {
		k.timer.Stop()
	}
	k.mu.Unlock()
	err := k.e.Stop(ctx)
	k.l.mu.Lock()
	defer k.l.mu.Unlock()
	if k.l.held[k.key] == k {
		delete(k.l.held, k.key)
	}
	return err
}

// maxName is the longest name of a job that is spelled out in the group: with the
// prefix and every byte escaped it still fits.
const maxName = 150

// encode makes a part of a group name of the name of a job. Different names stay
// different: every other byte becomes a hyphen and two hex digits, and a name that
// would be too long two hyphens and its digest.
func encode(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' {
			b.WriteByte(c)
		} else {
			b.WriteString("-" + hex.EncodeToString([]byte{c}))
		}
	}
	if b.Len() > maxName {
		sum := sha256.Sum256([]byte(key))
		return "--" + hex.EncodeToString(sum[:])
	}
	return b.String()
}
