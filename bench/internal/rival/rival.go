// Package rival puts MultiLock and what one could use instead behind one
// interface, so that the same code measures them all.
package rival

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Setting is where a store is and how long leases last. It can be handed to a
// child process.
type Setting struct {
	// Store is the name of the store, as in store.Names.
	Store string
	// URL is the store as MultiLock takes it; peers find what they need in it.
	URL string
	// TTL is how long a lease lives without renewal, for every library alike.
	TTL time.Duration
	// Hurry lets libraries whose followers sleep for a whole lease have a short one:
	// handovers would else take longer than anybody wants to measure.
	Hurry bool `json:",omitempty"`
}

// Rival is one library on one store.
type Rival struct {
	Library string
	// Module is the library's Go module, whose version is reported.
	Module string
	Ours   bool
	// Floor says that this is no library, but what any would take at least.
	Floor bool
	// Poll is about how long a follower sleeps between its attempts, and 0 if the
	// store wakes it.
	Poll time.Duration
	// Settle is how much longer than others a follower needs until the store would
	// wake it at once.
	Settle time.Duration
	// Renews is the share of the TTL, from the beginning of an attempt to lead on,
	// within which a lease that was won is not renewed yet: until then its end is
	// known. It is 0 if a renewal may come at any moment, as with sessions, which a
	// client keeps alive on a schedule of its own.
	Renews float64
	// Plain are the commands of a cycle that clients send to Redis beside scripts, in
	// lower case. None of them may be called in one of the library's scripts.
	Plain []string
	// Note says what was set that is not the library's default.
	Note string
	// Connect makes a client: what a process has one of, with its connections.
	Connect func(ctx context.Context, s Setting) (Client, error)
}

// Client is the connections of one process. Its candidates may be used at the
// same time.
type Client interface {
	// Candidate takes part in the election of a group under a name. One candidate
	// is used by one goroutine at a time.
	Candidate(group, name string) (Candidate, error)
	Close()
}

// Candidate takes part in one election.
type Candidate interface {
	// Lead waits until the candidate knows that it leads; from then on the lease is
	// kept alive. It ends early with ctx.
	Lead(ctx context.Context) error
	// Resign gives the lead up and returns when that is done.
	Resign(ctx context.Context) error
}

// Cycler is a Candidate with a cheaper way to take a free group and give it back
// at once.
type Cycler interface {
	Cycle(ctx context.Context) error
}

// Cycle takes a free group and gives it back.
func Cycle(ctx context.Context, c Candidate) error {
	if c, ok := c.(Cycler); ok {
		return c.Cycle(ctx)
	}
	if err := c.Lead(ctx); err != nil {
		return err
	}
	return c.Resign(ctx)
}

// On lists the rivals on a store, MultiLock first.
func On(store string) []Rival {
	switch store {
	case "memory":
		return []Rival{multiLock(), goChannel()}
	case "redis":
		return []Rival{multiLock(), rueidisLock(), redisLock(), redSync()}
	case "postgres":
		return []Rival{multiLock(), pgLock()}
	case "consul":
		return []Rival{inSession(multiLock()), consulLock()}
	case "zookeeper":
		return []Rival{inSession(multiLock()), zooKeeperLock()}
	case "etcd":
		return []Rival{etcdElection()}
	case "kubernetes":
		return []Rival{clientGo()}
	case "azblob":
		r := multiLock()
		r.Poll = azblobPoll
		return []Rival{r}
	}
	return []Rival{multiLock()}
}

// WithFloors lists the rivals on a store and, where MultiLock has a peer there, its
// driver alone.
func WithFloors(store string) []Rival {
	all := On(store)
	switch store {
	case "consul", "postgres", "redis", "zookeeper":
		all = slices.Insert(all, 1, driverAlone())
	}
	return all
}

// inSession is MultiLock where a session carries the lease.
func inSession(r Rival) Rival {
	r.Renews = 0
	return r
}

// Named finds a rival on a store by the name of its library.
func Named(store, library string) (Rival, error) {
	for _, r := range WithFloors(store) {
		if r.Library == library {
			return r, nil
		}
	}
	return Rival{}, fmt.Errorf("there is no %s on %s", library, store)
}
