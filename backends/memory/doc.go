// Package memory is MultiLock's in-process backend: for tests, demonstrations,
// and programs whose candidates are goroutines of one process.
//
// A backend opened with the zero Options has a fresh private store that nothing
// else can reach. Electors elect among each other if they share a [Store]:
//
//	store := memory.NewStore()
//	a, err := memory.Open(ctx, memory.Options{Store: store})
//	b, err := memory.Open(ctx, memory.Options{Store: store})
//
// or open backends with one Name, which is shared by the whole process.
//
// # For tests
//
// The store obeys the driver contract exactly and can be made to misbehave the
// way networks and machines do: [Store.Intercept] delays, drops, repeats or
// reorders single requests and replies, [Store.SetClock] puts it on a clock of the
// test's, [Store.Remove] and [Store.Clear] lose data. It works inside
// testing/synctest bubbles, except by Name: a named store is shared by the whole
// process, so it would carry leases from one bubble, with a clock of its own, to
// another. Opening one there is refused. Close the backend before the bubble
// ends: goroutines that wait for work end with it.
//
// # Guarantees
//
// Exclusion and fencing tokens hold among all backends that share the store. The
// expiry is judged by the process's monotonic clock, which nobody can step. A
// crash ends the store with its process, so there is no failover between
// processes: use package file for those of one machine.
package memory
