package multilock

import (
	"errors"
	"fmt"
	"strings"

	"github.com/multilock/multilock-go/core/driver"
)

// Sentinel errors; test for them with errors.Is.
var (
	// ErrLost says that a term ended against its holder's will: it expired, was
	// taken over, or its record was removed.
	ErrLost = driver.ErrLost
	// ErrNoLeader says that a group has no live term.
	ErrNoLeader = driver.ErrNoLeader
	// ErrClosed says that the Backend was closed.
	ErrClosed = driver.ErrClosed
	// ErrMisconfigured says that retrying cannot help until somebody changes the
	// configuration.
	ErrMisconfigured = driver.ErrMisconfigured

	// ErrRunning is returned by Run, Start, StartWork and TryAcquire on an elector
	// that is in use otherwise: started, running, or holding a term won by TryAcquire
	// or an attempt of it.
	ErrRunning = errors.New("multilock: the elector is already running")
	// ErrStopped says that the elector is stopped or stopping. It is also the
	// cause of a term's context after a planned stop.
	ErrStopped = errors.New("multilock: the elector is stopped")
	// ErrResigned is the cause of a term's context after Resign.
	ErrResigned = errors.New("multilock: the term was resigned")
	// ErrWorkDone is the cause of a term's context after its work returned.
	ErrWorkDone = errors.New("multilock: the work returned")
	// ErrExpired is the cause of a term's context when the deadline passed before
	// a renewal was confirmed.
	ErrExpired = fmt.Errorf("%w: its deadline passed without a confirmed renewal", ErrLost)
	// ErrClock is the cause of a term's context when this machine's clocks
	// contradict each other so that the deadline cannot be judged.
	ErrClock = fmt.Errorf("%w: the clocks of this machine disagree", ErrLost)
	// ErrDrainTimeout says that the work did not return within the drain limit. Its
	// lease is left to expire instead of being handed over.
	ErrDrainTimeout = errors.New("multilock: the work did not return within the drain limit")
	// ErrInvalid is matched by every [*InvalidError].
	ErrInvalid = errors.New("multilock: invalid argument")
	// ErrUnsupported says that the backend cannot do what was asked.
	ErrUnsupported = errors.New("multilock: not supported by this backend")

	// errAbandoned is the uncertain answer of a call that was given up.
	errAbandoned = errors.New("no answer within the time limit")
	// errTooManyStuck is the uncertain answer when too many calls never returned.
	errTooManyStuck = errors.New("too many earlier calls have not returned")
)

// InvalidError reports one invalid option or argument. Several are joined by
// errors.Join; errors.Is(err, ErrInvalid) finds them.
type InvalidError struct {
	// Field is the Go name of the option or argument, e.g. "Options.Group".
	Field string
	// Value is the offending value, or empty if it is a secret.
	Value string
	// Allowed says what would be accepted.
	Allowed string
}

func (e *InvalidError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("multilock: %s: %s", e.Field, e.Allowed)
	}
	return fmt.Sprintf("multilock: %s: %s, got %s", e.Field, e.Allowed, e.Value)
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// OpError is an error of a store operation. Unwrap leads to the driver's own.
type OpError struct {
	Backend string // e.g. "redis"
	Op      string // "acquire", "renew", "resign", "leader", "ping", "start" or "close"
	Group   string // empty for ping and close
	Err     error
}

func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString(e.Backend + ": " + e.Op)
	if e.Group != "" {
		b.WriteString(" group " + e.Group)
	}
	b.WriteString(": " + e.Err.Error())
	return b.String()
}

// Unwrap returns the driver's error.
func (e *OpError) Unwrap() error { return e.Err }

// certain reports whether an Acquire that returned err has been answered for
// good: its nonce must not be sent again. ErrNotApplied is no such answer: it says
// nothing about an earlier send of the nonce, which may have won.
func certain(err error) bool {
	var held *driver.HeldError
	return err == nil || errors.As(err, &held) || errors.Is(err, driver.ErrResigned) ||
		errors.Is(err, ErrMisconfigured) || errors.Is(err, ErrClosed)
}
