package certmagiclock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	multilock "github.com/multilock/multilock-go/core"
)

// Options configure a Storage. The zero value is usable.
type Options struct {
	// Prefix comes before the lock's name in the group. Default "certmagic"; 1 to 100
	// characters of A-Z a-z 0-9 _ . -
	Prefix string
	// Election has the timing, logger and observer of the locks. Group and ManualStart
	// are ignored.
	Election multilock.Options
}

// Storage is a certmagic.Storage whose locks are those of a backend; everything else
// is the embedded one's. Its methods may be called concurrently.
type Storage struct {
	certmagic.Storage

	b *multilock.Backend
	o Options

	mu     sync.Mutex
	held   map[string][]*lock // by name
	closed bool
}

var (
	_ certmagic.Storage          = (*Storage)(nil)
	_ certmagic.TryLocker        = (*Storage)(nil)
	_ certmagic.LockLeaseRenewer = (*Storage)(nil)
)

// New returns a Storage that keeps data in s, which all instances have to share, and
// locks on b. It does no I/O. Close it before the backend.
func New(s certmagic.Storage, b *multilock.Backend, o Options) (*Storage, error) {
	if s == nil {
		return nil, &multilock.InvalidError{Field: "storage", Allowed: "must not be nil"}
	}
	if o.Prefix == "" {
		o.Prefix = "certmagic"
	}
	if len(o.Prefix) > 100 {
		return nil, &multilock.InvalidError{Field: "Options.Prefix", Value: o.Prefix, Allowed: "must be at most 100 characters long"}
	}
	x := &Storage{Storage: s, b: b, o: o, held: make(map[string][]*lock)}
	if _, err := x.elector("check"); err != nil { // a fault shows now and not at the first certificate
		return nil, err
	}
	return x, nil
}

func (s *Storage) elector(name string) (*multilock.Elector, error) {
	o := s.o.Election
	o.Group = s.o.Prefix + "." + encode(name)
	return multilock.New(s.b, o)
}

// lock is one lock that is held, or was lost.
type lock struct{ e *multilock.Elector }

// Lock implements certmagic.Locker. It waits until the lock is free or ctx ends.
func (s *Storage) Lock(ctx context.Context, name string) error {
	e, err := s.elector(name)
	if err != nil {
		return err
	}
	// The lock outlives the context of this call, but not its wait.
	campaign, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	acquired, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer giveUp()
		ended <- e.Run(campaign, func(ctx context.Context, _ multilock.Term) error {
			close(acquired)
			<-ctx.Done()
			return e.Stop(ctx) // from inside it does not wait; a lock that was lost must not come back
		})
	}()
	select {
	case <-acquired:
		return s.keep(ctx, name, &lock{e})
	case err := <-ended:
		return err
	case <-ctx.Done():
		giveUp()
		<-ended
		return context.Cause(ctx)
	}
}

// TryLock implements certmagic.TryLocker with one attempt.
func (s *Storage) TryLock(ctx context.Context, name string) (bool, error) {
	e, err := s.elector(name)
	if err != nil {
		return false, err
	}
	won, err := e.TryAcquire(ctx)
	if err != nil || !won {
		return false, err
	}
	if err := s.keep(ctx, name, &lock{e}); err != nil {
		return false, err
	}
	return true, nil
}

func (s *Storage) keep(ctx context.Context, name string, k *lock) error {
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.held[name] = append(s.held[name], k)
	}
	s.mu.Unlock()
	if closed {
		_ = k.e.Stop(context.WithoutCancel(ctx)) // otherwise it ends with its time-to-live
		return multilock.ErrClosed
	}
	return nil
}

// Unlock implements certmagic.Locker. A lock that was lost meanwhile is no error:
// there is nothing to release.
func (s *Storage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	list := s.held[name]
	if len(list) == 0 {
		s.mu.Unlock()
		return fmt.Errorf("certmagiclock: %q is not locked", name)
	}
	// With more than one, all but the last were lost; their holders do not know.
	k := list[0]
	if s.held[name] = list[1:]; len(list) == 1 {
		delete(s.held, name)
	}
	s.mu.Unlock()
	return k.e.Stop(ctx)
}

// RenewLockLease implements certmagic.LockLeaseRenewer. Locks are renewed anyway; it
// reports multilock.ErrLost if this one was lost.
func (s *Storage) RenewLockLease(_ context.Context, name string, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(s.held[name], func(k *lock) bool { return k.e.IsLeader() }) {
		return nil
	}
	return fmt.Errorf("certmagiclock: lock %q: %w", name, multilock.ErrLost)
}

// Close releases what is still held, and makes later locks fail with
// multilock.ErrClosed. It does not touch the embedded storage.
func (s *Storage) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	held := s.held
	s.held = make(map[string][]*lock)
	s.mu.Unlock()
	var first error
	for _, list := range held {
		for _, k := range list {
			if err := k.e.Stop(ctx); first == nil {
				first = err
			}
		}
	}
	return first
}

// maxName is the longest name of a lock that is spelled out in the group.
const maxName = 150

// encode makes a part of a group name of the name of a lock. Different names stay
// different: every other byte becomes a hyphen and two hex digits, and a name that
// would be too long two hyphens and its digest.
func encode(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' {
			b.WriteByte(c)
		} else {
			b.WriteString("-" + hex.EncodeToString([]byte{c}))
		}
	}
	if b.Len() > maxName {
		sum := sha256.Sum256([]byte(name))
		return "--" + hex.EncodeToString(sum[:])
	}
	return b.String()
}
