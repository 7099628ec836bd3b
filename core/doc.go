// Package multilock elects leaders among the replicas of a service over storage
// it already runs. One replica of a group leads; when it stops, crashes, hangs or
// is cut off, another takes over within a bound that can be computed beforehand.
//
//	b, err := redis.Open(ctx, redis.Options{Addrs: []string{"localhost:6379"}})
//	e, err := multilock.New(b, multilock.Options{Group: "billing"})
//	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
//		// lead until ctx ends; send term.Token with every write
//	})
//
// A [Backend] is a store, shared by all electors of a process. An [Elector] takes
// part in one group. The backends are modules of their own, so that a program
// depends on the client of its own store only.
//
// # States
//
//	           Start, Run                  wins
//	stopped ───────────────▶ follower ───────────────▶ leader
//	   ▲                        ▲  ▲                     │ │
//	   │                        │  └─────────────────────┘ │ lost, and the work
//	   │ Stop, Close,           │        work returned     │ runs: draining until
//	   │ end of Run's context,  │        after a loss      │ it has returned
//	   │ misconfiguration       │                          │
//	   │                        │ resigned (Resign)        ▼ Stop, Resign, Close,
//	   └────────────────────────┴────────────────────── draining
//	                              resigned (Stop, Close)     end of Run's context
//
//	stopped ──TryAcquire wins──▶ manual ──Resign, Stop, loss──▶ stopped
//
// Draining comes in an order that does not change: IsLeader turns false and Lost
// is published; the work's context is cancelled; the lease is renewed while the
// work returns; only then is it resigned, which wakes the followers. If the work
// does not return within DrainTimeout the lease is left to expire.
//
// # Guarantees
//
// Exclusion. Two electors of a group never both answer true to [Elector.IsLeader],
// as long as each process's clock and the store's clock run within Margin/TTL of
// each other (6.7 % at the defaults, never less than 1 %), the store does not step
// its clock forward or fail over to a host whose clock is ahead by more than the
// margin (this concerns stores that judge by a wall clock: Redis, PostgreSQL and
// SQL Server), it loses no acknowledged write, and nobody else edits or deletes
// the record. Clocks need not agree. It holds through crashes, hangs, SIGSTOP,
// suspend, partitions, and requests that are lost, late, repeated or reordered.
//
// Fence. Every term has a token, greater than that of every earlier term of the
// group, also across resignations, crashes and restarts. Where exclusion is only
// as good as the clocks, the fence is what protects the resource: let it refuse a
// token lower than the highest it has seen. If the store itself loses its data,
// the order of tokens rests on the store's clock.
//
// Work is bound to its term. The context given to the work ends with the term, by
// the deadline at the latest if the process is running. If it was stopped or
// suspended, the context's Err, IsLeader and Term say so in the first instruction
// after it resumes, because they look at the clocks. An elector never starts a
// second copy of its work before the first has returned.
//
// Bounded failover. [Elector.WorstCaseFailover] is computed from the options and
// the backend, and logged at the start.
//
// Nothing is missed. Every sequence of [Elector.Changes] has each change once and
// in order. A slow subscriber, logger or observer delays nobody.
//
// # No guarantees
//
// A lease cannot protect against a clock that runs far outside the bound, a
// virtual machine that its hypervisor froze or cloned, a store that lost data it
// had acknowledged, or a process that was stopped between its last look at the
// clock and its write. There only the fence helps.
//
// # Clocks
//
// A term is believed from before the request that won or renewed it was sent, for
// what the store granted less the margin. The deadline is judged whenever it is
// asked for, on two clocks: the monotonic one, which stops while a machine is
// suspended, and the wall clock, which somebody may step. Where they disagree,
// CLOCK_BOOTTIME decides on Linux. Elsewhere a wall clock that went forward can
// only end a term early, and one that went back ends it with [ErrClock]; a suspend
// that is exactly cancelled by a step back in the same lease stays hidden there.
//
// # Errors
//
// An answer about the lease itself is certain: a term that the store says is lost
// ends at once. Everything else (a time-out, a reset, an overloaded server) is
// uncertain and retried until the deadline. Renewing never creates a record.
package multilock
