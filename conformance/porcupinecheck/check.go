// Package porcupinecheck checks the histories that the conformance kit records
// for linearizability, with porcupine. It is a module of its own so that the kit
// needs nothing but the standard library.
package porcupinecheck

import (
	"fmt"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/core/driver"
)

// Checker implements [conformance.Checker].
type Checker struct {
	// Limit is how long one history may take to check; 30 s if it is zero.
	Limit time.Duration
}

// state is one correct store, as far as the answers given so far tell.
type state struct {
	holder driver.Nonce // zero: nobody leads
	last   driver.Nonce // the nonce that resigned last
	token  uint64       // the greatest token known
	exact  bool         // token is the holder's; otherwise the holder's is greater
}

// Check implements [conformance.Checker].
func (c Checker) Check(history []conformance.Operation) error {
	ops := make([]porcupine.Operation, len(history))
	for i, op := range history {
		// An operation without an answer never ends, so that its client's next one
		// overlaps it: each operation is a client of its own.
		ops[i] = porcupine.Operation{ClientId: i, Input: op, Call: int64(op.Call), Output: op, Return: int64(op.Return)}
	}
	limit := c.Limit
	if limit == 0 {
		limit = 30 * time.Second
	}
	model := porcupine.NondeterministicModel{Init: func() []any { return []any{state{}} }, Step: step}
	deterministic := model.ToModel()
	switch porcupine.CheckOperationsTimeout(deterministic, ops, limit) {
	case porcupine.Ok:
		return nil
	case porcupine.Illegal:
		return fmt.Errorf("no correct store could have given these answers:\n%s", describe(history))
	default:
		return fmt.Errorf("the history of %d operations could not be checked within %v", len(history), limit)
	}
}

// step returns the states that op may leave behind; none if its answer is wrong
// in s.
func step(in, input, _ any) []any {
	s, op := in.(state), input.(conformance.Operation)
	if op.Result == "unknown" {
		out := []any{s} // not executed, or without effect
		if next, ok := s.effect(op); ok {
			out = append(out, next)
		}
		return out
	}
	next, ok := s.answer(op)
	if !ok {
		return nil
	}
	return []any{next}
}

// effect is what op changes if it is executed in s and succeeds.
func (s state) effect(op conformance.Operation) (state, bool) {
	switch {
	case op.Kind == "acquire" && s.holder.IsZero() && s.last != op.Nonce:
		s.holder, s.exact = op.Nonce, false
		return s, true
	case op.Kind == "resign" && s.holder == op.Nonce:
		s.holder, s.last = driver.Nonce{}, op.Nonce
		return s, true
	}
	return s, false
}

// answer is the state after op was answered as it was; false if that cannot be.
func (s state) answer(op conformance.Operation) (state, bool) {
	switch op.Kind + " " + op.Result {
	case "acquire ok":
		if s.holder == op.Nonce {
			return s.withToken(op.Token)
		}
		next, ok := s.effect(op)
		if !ok {
			return s, false
		}
		return next.withToken(op.Token)
	case "acquire held":
		return s, !s.holder.IsZero() && s.holder != op.Nonce
	case "acquire resigned":
		return s, s.last == op.Nonce
	case "renew ok":
		return s, s.holder == op.Nonce
	case "resign ok":
		return s.effect(op)
	case "renew lost", "resign lost":
		return s, s.holder != op.Nonce
	case "leader ok":
		if s.holder.IsZero() {
			return s, false
		}
		return s.withToken(op.Token)
	case "leader none":
		return s, s.holder.IsZero()
	}
	return s, false
}

// withToken is s after the holder's token was seen.
func (s state) withToken(token uint64) (state, bool) {
	if s.exact {
		return s, token == s.token
	}
	ok := token > s.token
	s.token, s.exact = token, true
	return s, ok
}

func describe(history []conformance.Operation) string {
	var b strings.Builder
	for _, op := range history {
		until := "..."
		if op.Return != conformance.Never {
			until = op.Return.String()
		}
		fmt.Fprintf(&b, "  client %d  %v - %s  %s %.8s: %s, token %d\n", op.Client, op.Call, until, op.Kind, op.Nonce, op.Result, op.Token)
	}
	return b.String()
}
