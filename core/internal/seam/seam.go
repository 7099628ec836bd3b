// Package seam lets the simulation reach what core keeps unexported.
package seam

import "github.com/multilock/multilock-go/core/internal/clock"

// SetClock replaces the clock of a *multilock.Backend before its first use. It
// is set by package multilock.
var SetClock func(backend any, c clock.Clock)

// Sabotage switches off one safety rule of a *multilock.Backend, so that the
// simulation can show that its oracle would notice. It is set by package
// multilock; see the constants there.
var Sabotage func(backend any, fault Fault)

// Fault is one safety rule switched off on purpose.
type Fault int

// The rules that can be switched off.
const (
	None             Fault = iota
	NoMargin               // belief lasts the whole TTL
	AnchorAfterReply       // belief counts from the reply instead of the request
	ReuseNonce             // a nonce is used again after its Resign
	ReviveTerm             // a late reply brings an ended term back
)
