// Package custombackend is a complete backend for MultiLock over bbolt, an
// embedded key-value store, as an example of how to write one. It elects a leader
// among the goroutines of one process, and its tokens go on increasing when the
// process starts again.
//
//	store, err := custombackend.OpenStore("leases.db")
//	...
//	defer store.Close()
//	backend, err := store.Backend()
//	...
//	elector, err := multilock.New(backend, multilock.Options{Group: "reports"})
//
// # What it promises
//
// bbolt runs one writing transaction at a time, and each operation here is one
// transaction, so the decision who leads is made in one place. Expiry is judged
// by the wall clock of the host, since it has to survive the process; a clock
// that is stepped forward may therefore free a live lease, and then only the
// token protects the resource. A clock that is stepped back delays a takeover by
// one TTL at most.
//
// A file of bbolt belongs to one process at a time: electors of another process
// cannot take part.
//
// # How it is made
//
// store.go holds the decisions (read it beside the rules in package driver),
// driver.go gives them the driver's form, watch.go wakes followers, and
// harness_test.go lets the conformance kit loose on it.
package custombackend
