package driver

import (
	"errors"
	"fmt"
)

// Certain answers. Drivers return them as they are or wrapped with %w. An error
// that is none of these, nor a [*HeldError], is uncertain.
var (
	// ErrLost says that the term is not the live term of its group: it expired,
	// was taken, resigned, removed or replaced.
	ErrLost = errors.New("multilock: the term is lost")
	// ErrNoLeader says that no term of the group is live.
	ErrNoLeader = errors.New("multilock: no leader")
	// ErrClosed says that the driver or backend was closed.
	ErrClosed = errors.New("multilock: closed")
	// ErrResigned refuses an Acquire with the nonce that resigned last.
	ErrResigned = errors.New("multilock: the nonce has resigned")
	// ErrNotApplied says that this very request certainly changed nothing and may
	// be sent again soon: a lock time-out, a serialization failure, a refused
	// connection. It says nothing about earlier sends of the same request.
	ErrNotApplied = errors.New("multilock: not applied")
	// ErrMisconfigured says that retrying cannot help until somebody changes the
	// configuration: a wrong password, a missing privilege or table, a forbidden
	// server setting. Wrap it together with the store's error; see Misconfigured.
	ErrMisconfigured = errors.New("multilock: misconfigured")
)

// Misconfigured marks err as a misconfiguration. The hint says in one sentence
// what to change; neither may hold a secret.
func Misconfigured(err error, hint string) error {
	return &misconfigured{err: err, hint: hint}
}

type misconfigured struct {
	err  error
	hint string
}

func (e *misconfigured) Error() string   { return fmt.Sprintf("%v (%s)", e.err, e.hint) }
func (e *misconfigured) Unwrap() []error { return []error{ErrMisconfigured, e.err} }

// HeldError is the certain answer that another term is live.
type HeldError struct {
	// Record is that term as far as the store tells. Term.Nonce is zero and
	// Remaining is RemainingUnknown where it does not.
	Record Record
}

func (e *HeldError) Error() string {
	if e.Record.Participant == "" {
		return "multilock: group is led by another term"
	}
	return fmt.Sprintf("multilock: group is led by %s (token %d)", e.Record.Participant, e.Record.Token)
}
