// Package driver is the contract between MultiLock's core and a store.
//
// A backend implements [Driver] and, where its store can, the optional
// interfaces [Watcher], [BatchReader], [BatchAcquirer] and [Pinger]. Everything
// else (validation, time limits, hedging, batching of renewals, retries, error
// wrapping, fan-out of wake-ups, closing) is done once, for all stores, by
// multilock.Backend, so a driver stays small and returns its SDK's raw errors.
//
// # Rules every driver obeys
//
// Each is a rule of the conformance kit.
//
//   - Operations are scoped to the nonce of a term, never to the participant.
//   - Expiry is judged by the store's clock (or the kernel's), never by
//     comparing the clocks of two machines. Durations cross the wire, not
//     instants.
//   - A success says how long it is good for, counted from the moment it
//     executed ([Grant.Granted], [RenewResult.Granted]).
//   - A renewal never shortens an expiry and never creates a record.
//   - No statement waits for somebody else's lock.
//   - Tokens come from something that survives resign, expiry and restart.
//   - A session shared by many terms proves only that the session is alive;
//     ownership of a term is confirmed against its own record.
//   - Only an answer about the lease itself is certain (see [ErrLost]).
//   - Names are encoded so that different valid names stay different.
//   - A cancelled context returns promptly; a call that does not is abandoned.
//
// All methods may be called concurrently.
package driver

import "context"

// Driver is the small contract a store implements.
//
// Errors: a certain answer is one of the sentinels of this package or a
// [*HeldError]. Any other error is uncertain: the request may or may not have
// been, or still be, executed. Methods are called with valid arguments only;
// core has checked names, metadata and durations against [Info].
type Driver interface {
	// Acquire makes one attempt to begin the term req.Nonce and never waits for
	// the holder, nor more than 200 ms for anybody's lock.
	//
	// On success the store holds a record of the term. If the record found is
	// live and carries req.Nonce (the reply to an earlier send was lost), it is
	// extended to max(old expiry, now + req.TTL) and returned with the same
	// token and acquired-at. An expired record is never an own success: the
	// result is a new term with a greater token. The last resigned nonce of the
	// group is refused with [ErrResigned].
	//
	// If another term is live, or the record cannot be read as free, the error
	// is a [*HeldError]. If the store knows that nothing was written and that the
	// cause is not another holder (a lock time-out, a serialization failure), the
	// error wraps [ErrNotApplied] and core retries soon.
	Acquire(ctx context.Context, req AcquireRequest) (Grant, error)

	// Renew extends exactly the given terms, at most [Info.RenewBatch] of them.
	// It calls report once for each request whose answer is known, from any
	// goroutine, before it returns; a request unreported at return is uncertain.
	// One locked, slow or lost term delays no other. The error of a result is
	// nil, [ErrLost], or an uncertain error.
	Renew(ctx context.Context, reqs []RenewRequest, report func(RenewResult))

	// Resign ends exactly the term t so that another can be acquired at once,
	// wakes watchers, and leaves the token counter and the resigned nonce behind.
	// For a term that is not live the error is [ErrLost] and nothing changes.
	Resign(ctx context.Context, t Term) error

	// Leader reads the live record of a group, or returns [ErrNoLeader]. An
	// expired record is not live.
	Leader(ctx context.Context, group string) (Record, error)

	// Close releases what the driver opened, and not a client given to it. It is
	// idempotent. Every other method returns [ErrClosed] afterwards.
	Close() error
}

// Watcher is implemented by drivers whose store can push. Watch is called at
// most once per driver; ctx bounds only the call itself, not the subscription.
type Watcher interface {
	Watch(ctx context.Context, sink Sink) (Subscription, error)
}

// Subscription is the set of groups a [Watcher] watches. Groups come and go;
// implementations keep one connection, or the few they declare, for all.
type Subscription interface {
	// Add begins to watch group. A change that happens after Add returned is
	// never lost: if the watch is not yet in force by then, the driver calls
	// Wake(group) once when it is. Add is called once per group before Remove.
	Add(ctx context.Context, group string) error
	// Remove ends the watch of group. It does not block on the network.
	Remove(group string)
	// Close ends all watches and returns when no Sink method runs any more.
	// Driver.Close implies it.
	Close() error
}

// Sink receives what a [Watcher] learns. Its methods never block and may be
// called from any goroutine. A wake-up is a hint to try again, never a proof.
type Sink interface {
	// Wake says that the lease of group may have become free.
	Wake(group string)
	// WakeAll is called after every reconnect, since pushes may have been missed.
	WakeAll()
	// Lost says that the term (group, nonce) is certainly not held any more: its
	// session ended, its record was deleted or replaced, its client was closed.
	Lost(group string, nonce Nonce)
}

// BatchReader reads the state of many groups in one round trip. It calls report
// once for each group that is known ([ErrNoLeader] for one without a live
// term) before it returns, for at most [Info.ReadBatch] groups.
type BatchReader interface {
	Leaders(ctx context.Context, groups []string, report func(group string, rec Record, err error))
}

// BatchAcquirer makes many attempts in one round trip. It calls report with the
// index of a request once for each answer that is known before it returns, for
// at most [Info.AcquireBatch] requests. Each attempt obeys the rules of
// [Driver.Acquire] by itself.
type BatchAcquirer interface {
	AcquireBatch(ctx context.Context, reqs []AcquireRequest, report func(i int, g Grant, err error))
}

// Pinger checks that the store can be reached and used.
type Pinger interface {
	Ping(ctx context.Context) error
}
