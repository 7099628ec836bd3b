package driver

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Nonce identifies one campaign attempt and, if it wins, its term. It is
// random, proves ownership of the record, and is never used for a second term.
type Nonce [16]byte

// NewNonce returns a random nonce in the form of a version 4 UUID, which some
// stores demand of a lease id.
func NewNonce() Nonce {
	var n Nonce
	rand.Read(n[:]) // never fails: crypto/rand aborts the process instead
	n[6] = n[6]&0x0f | 0x40
	n[8] = n[8]&0x3f | 0x80
	return n
}

// IsZero reports whether n is the zero nonce, which no term has.
func (n Nonce) IsZero() bool { return n == Nonce{} }

// String returns the canonical UUID form, 36 lower-case characters.
func (n Nonce) String() string {
	var b [36]byte
	hex.Encode(b[0:8], n[0:4])
	b[8] = '-'
	hex.Encode(b[9:13], n[4:6])
	b[13] = '-'
	hex.Encode(b[14:18], n[6:8])
	b[18] = '-'
	hex.Encode(b[19:23], n[8:10])
	b[23] = '-'
	hex.Encode(b[24:36], n[10:16])
	return string(b[:])
}

var errNonce = errors.New("driver: nonce is not a UUID of 36 characters")

// ParseNonce is the inverse of [Nonce.String].
func ParseNonce(s string) (Nonce, error) {
	var n Nonce
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return Nonce{}, errNonce
	}
	if _, err := hex.Decode(n[:], []byte(s[0:8]+s[9:13]+s[14:18]+s[19:23]+s[24:36])); err != nil {
		return Nonce{}, errNonce
	}
	return n, nil
}

// Term is one unbroken leadership of a group.
type Term struct {
	// Group is the election the term belongs to.
	Group string
	// Participant names who leads. It is for people; ownership hangs on Nonce.
	Participant string
	// Token is the fencing token: strictly greater than that of every earlier
	// term of the group. Send it with every write the term protects.
	Token uint64
	// Nonce proves ownership of the term at the store.
	Nonce Nonce
}

// String names group, participant and token.
func (t Term) String() string {
	return fmt.Sprintf("%s/%s#%d", t.Group, t.Participant, t.Token)
}

// AcquireRequest is one attempt to begin a term.
type AcquireRequest struct {
	Group       string
	Participant string
	Nonce       Nonce
	// TTL is how long the store shall keep the term without a renewal.
	TTL time.Duration
	// Metadata is stored with the record; nil means none. Drivers do not keep or
	// change the map.
	Metadata map[string]string
}

// Grant is a successful acquire.
type Grant struct {
	// Token is the fencing token of the term.
	Token uint64
	// Granted is the lifetime this very execution guarantees, counted from the
	// moment it executed, by the store's clock. It is never more than asked.
	Granted time.Duration
	// AcquiredAt is when the term began, by the store's clock where it has one.
	// It is for people.
	AcquiredAt time.Time
}

// RenewRequest extends one term.
type RenewRequest struct {
	Term Term
	TTL  time.Duration
	// Metadata replaces the stored metadata if it is not nil; an empty map
	// clears it. The last executed write wins.
	Metadata map[string]string
}

// RenewResult answers the request reqs[Index].
type RenewResult struct {
	Index   int
	Granted time.Duration // as Grant.Granted
	Err     error
}

// RemainingUnknown is the value of [Record.Remaining] in stores that do not tell.
const RemainingUnknown time.Duration = -1

// Record is what a store holds about a live term.
type Record struct {
	Term
	Metadata   map[string]string
	AcquiredAt time.Time
	// TTL is the lifetime the holder asked for; 0 if the store does not tell.
	TTL time.Duration
	// Remaining is the time until the record expires unless it is renewed, by the
	// store's clock and never above TTL, or RemainingUnknown.
	Remaining time.Duration
}
