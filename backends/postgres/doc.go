// Package postgres is MultiLock's backend over PostgreSQL 12 and later, with pgx.
//
//	b, err := postgres.Open(ctx, postgres.Options{ConnString: "postgres://app@db/app"})
//
// or, with a pool of your own,
//
//	b, err := postgres.FromPool(pool, postgres.Options{})
//
// # How it works
//
// A group is one row of one table, never deleted. Acquire, renew and resign are
// one statement each, in a transaction of their own. No statement waits for a row
// that somebody has locked: it is skipped, and that term's answer is "not now".
// Candidates that find the row held only read it. A group's first term makes its
// row, in the statement of the attempt; only another client that makes the same row
// at this moment is waited for, 100 ms at most. The renewals of up to 500 terms are
// one statement.
//
// A resignation is notified in the statement that makes it. Followers hear of it
// on one connection that listens for all groups; behind it stands a timer for the
// remaining time, which every refused attempt learns.
//
// # Connections
//
// A backend with its own connections keeps three (calls, renewals, LISTEN) and
// opens one more while a renewal is slow. One over your pool takes up to three
// from it at a time and keeps one for LISTEN that no longer counts; give the
// pool room, because an application that exhausts it delays the heartbeats too.
//
// A session of its own is set once, by the message that also carries its first
// statement: lock_timeout to 100 ms, synchronous_commit to on if it is off, and
// plan_cache_mode so that a statement is planned once. A change of
// synchronous_commit on the server reaches it with the next connection, within an
// hour by default. In your pool the first two go before every statement, in the
// same message, and end with it.
//
// # Poolers
//
// It works through a pooler in transaction mode, such as PgBouncer, which shows by
// the first statement on each connection: every statement carries its settings with
// it and leaves none behind, and named prepared statements are not used. LISTEN
// cannot work there. With the option
// Notify at "auto" that is noticed, and followers rely on the timer: a planned
// handover then takes up to the elector's ElectionInterval. "off" says so from
// the start, "on" insists, for a pooler in session mode.
//
// # Clocks
//
// The expiry is judged by the server's wall clock alone. Stepped forward, or by a
// failover to a server whose clock is ahead, by more than the margin it can make
// two leaders for a moment, which the fencing token tells apart: tokens are at
// least the server's clock in microseconds, so they also increase when the table
// was lost or restored from a backup. A clock stepped back delays a takeover by
// one more TTL at most.
//
// A failover to an asynchronous replica can lose the latest term as any
// acknowledged write. Statements make sure that synchronous_commit is not off.
//
// # Rights
//
// The table is created by the first use if it is missing, or beforehand from
// [DDL] or the file schema.sql. A role that takes part needs USAGE on the schema
// and SELECT, INSERT and UPDATE on the table. To protect your own tables by the
// fencing token use package fence beside this one.
package postgres
