package conformance

import (
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Operation is one call in a recorded history of one group.
type Operation struct {
	// Client tells apart the callers; calls of one client do not overlap.
	Client int
	// Kind is "acquire", "renew", "resign" or "leader".
	Kind string
	// Nonce is the term the call was about; zero for "leader".
	Nonce driver.Nonce
	// Call and Return are when the call was made and when its answer came, counted
	// from the start of the history. Return is Never for a call whose answer was
	// lost: it may take effect at any later time, or not at all.
	Call, Return time.Duration
	// Result is "ok", "held" (acquire), "lost" (renew, resign), "none" (leader),
	// "resigned" (acquire), or "unknown".
	Result string
	// Token is the token of the grant, or of the leader that was seen.
	Token uint64
}

// Never is the Return of an operation without an answer.
const Never = time.Duration(1<<63 - 1)

// Checker decides whether one correct store could have given all the answers of
// a history. The history is so short, and its TTL so long, that no term in it
// expires. The error says which history is impossible.
type Checker interface {
	Check(history []Operation) error
}
