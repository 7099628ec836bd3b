package conformance

import (
	"context"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// TB is the part of testing.TB that harnesses and rules use. *testing.T is one.
// FailNow, Fatal and Fatalf end the calling goroutine, which must be the one the
// TB was handed to.
type TB interface {
	Helper()
	Name() string
	Log(args ...any)
	Logf(format string, args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	FailNow()
	Failed() bool
	Cleanup(f func())
	TempDir() string
	Context() context.Context
}

// Harness is one fresh namespace in a store, for one rule, and what the test may
// do to that store. The rules of one harness never see another's groups.
//
// Name, TTL and NewDriver are required. Every other field is a [Power]: fill it
// in, or name it in Missing with the reason. Functions that fail call tb.Fatalf.
// Powers are called from the rule's goroutine unless they say otherwise.
type Harness struct {
	_ struct{} // keyed literals only: fields will be added

	// Name is how the report calls this store and set-up, e.g. "redis".
	Name string
	// TTL is the lifetime of the terms of most rules: as short as the store
	// reliably allows, at least 500 ms.
	TTL time.Duration
	// NewDriver opens one more independent client (own connections, own session)
	// of the same store and namespace. The kit closes it when the rule ends. It
	// may be called from several goroutines.
	NewDriver func(tb TB) (driver.Driver, driver.Info)
	// Missing says why a power is not there, one short sentence each.
	Missing map[Power]string

	// NewLinked (PowerLink) is NewDriver through a fault proxy of its own.
	NewLinked func(tb TB) (driver.Driver, driver.Info, Link)
	// LockRecord (PowerLock) holds the record of group as a careless user's
	// transaction would, until unlock is called. The record exists already.
	LockRecord func(tb TB, group string) (unlock func())
	// RemoveRecord (PowerRemove) deletes all the store holds about group.
	RemoveRecord func(tb TB, group string)
	// CorruptRecord (PowerCorrupt) overwrites the record of group with something
	// no driver wrote, as somebody else's program would.
	CorruptRecord func(tb TB, group string)
	// SetToken (PowerToken) makes token the last token of a group that has no
	// live term but had one.
	SetToken func(tb TB, group string, token uint64)
	// Age (PowerAge) makes everything stored about group look d older, as if the
	// store had been idle for d.
	Age func(tb TB, group string, d time.Duration)
	// EndSession (PowerSession) ends, from outside, the session or connection by
	// which a driver returned by NewDriver keeps its terms: the user's own client
	// is closed, an operator destroys the session.
	EndSession func(tb TB, d driver.Driver)

	// Powers over the whole store; rules that use them do not run in parallel.
	// Whatever they do is undone by the harness when the rule ends.

	// StepClock (PowerStepClock) steps the clock by which the store judges expiry.
	StepClock func(tb TB, d time.Duration)
	// Restart (PowerRestart) stops the store, keeps acknowledged writes, starts it
	// again, and returns when it answers.
	Restart func(tb TB)
	// LoseData (PowerLoseData) makes the store forget everything: a restart
	// without its data, a flush.
	LoseData func(tb TB)
	// Snapshot (PowerSnapshot) copies the store's data; restore puts the copy
	// back, as a restored backup would.
	Snapshot func(tb TB) (restore func(tb TB))
	// ManualClock (PowerManualClock) stops the store's clock. From then on only
	// advance moves it. tick is the smallest step the store can tell apart.
	ManualClock func(tb TB) (advance func(d time.Duration), tick time.Duration)

	// URL (PowerProcess) is how a child process opens the same namespace, by the
	// function given to Main, which TestMain must call.
	URL string
	// Requests (PowerRequests) counts the requests that the clients of this
	// namespace have sent to the store so far.
	Requests func() int64
	// Checker (PowerChecker) decides whether a recorded history could have been
	// produced by one correct store; see package conformance/porcupinecheck.
	Checker Checker

	// IgnoreGoroutines lists substrings of stack traces of goroutines that may
	// stay behind: those of process-wide pools of the store's own client library.
	IgnoreGoroutines []string

	newElector newElectorFunc // replaced by the kit's own tests
}

// Direction is one half of a connection.
type Direction int

// The two directions of a connection, and both at once.
const (
	ToStore Direction = 1 << iota
	ToClient
	BothWays = ToStore | ToClient
)

// Link is the network between one client and the store. Its methods may be
// called from any goroutine.
type Link interface {
	// Cut closes all connections and refuses new ones.
	Cut()
	// Blackhole keeps connections open and accepts new ones, but bytes in the
	// given direction vanish.
	Blackhole(d Direction)
	// Stall silences, both ways, the open connection number n (oldest is 0) and
	// leaves all others alone; false if there is no such connection.
	Stall(n int) bool
	// Reset closes all connections at once; new ones work.
	Reset()
	// Latency delays every byte by d in each direction.
	Latency(d time.Duration)
	// Restore undoes all of the above.
	Restore()
}
