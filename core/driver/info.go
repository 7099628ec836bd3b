package driver

import "time"

// Info is what a backend declares about itself. It is generated from the spec
// and may depend on the backend's options (a session's tick, a lock-delay).
type Info struct {
	// Name is the backend's name, e.g. "redis".
	Name string
	// Target says where the store is, for people, without secrets.
	Target string

	// MinTTL, MaxTTL and TTLGranularity bound the time-to-live of a term. A zero
	// MaxTTL means no bound; a granularity of a second refuses 1.5 s.
	MinTTL, MaxTTL, TTLGranularity time.Duration
	// Shortening is by how much the Granted of a renewal that arrives on time may
	// stay below the TTL asked for. It makes the belief of a term shorter.
	Shortening time.Duration

	// ExpiryFactor x TTL + ExpirySlack is the longest time from the last contact of
	// a dead leader until the store gives the lease to another.
	ExpiryFactor float64
	ExpirySlack  time.Duration
	// RemainingKnown says that HeldError and Leader tell the remaining time.
	RemainingKnown bool
	// PollDivisor, if not 0, makes followers try every TTL / PollDivisor, because
	// the store neither pushes nor tells the remaining time.
	PollDivisor int

	// PushOnResign and PushOnExpiry say what wakes followers.
	PushOnResign, PushOnExpiry bool

	// Calls is how many Acquire, Resign and Leader calls may run at once (at least
	// 1). Together with one renewal, one hedge and the watch they bound the
	// connections a driver needs.
	Calls int
	// Hedge says that a second Renew runs on another connection while the first is
	// awaited.
	Hedge bool
	// RenewBatch, ReadBatch and AcquireBatch are the most entries of one batch. A
	// RenewBatch of 0 counts as 1; the others matter only with BatchReader and
	// BatchAcquirer.
	RenewBatch, ReadBatch, AcquireBatch int
	// RenewExpired says that a renewal may succeed after the expiry while nobody
	// else has led since (the store decides that atomically).
	RenewExpired bool

	// Connections is the declared number of steady connections; 0 if the driver
	// promises none.
	Connections int
}

// WorstCaseExpiry is the longest time from the last contact of a dead leader
// with a time-to-live of ttl until the store lets another term begin.
func (i Info) WorstCaseExpiry(ttl time.Duration) time.Duration {
	f := i.ExpiryFactor
	if f == 0 {
		f = 1
	}
	return time.Duration(f*float64(ttl)) + i.ExpirySlack
}
