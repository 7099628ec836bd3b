package porcupinecheck

import (
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/core/driver"
)

var n1, n2 = driver.NewNonce(), driver.NewNonce()

func op(kind string, n driver.Nonce, call, ret time.Duration, result string, token uint64) conformance.Operation {
	return conformance.Operation{Kind: kind, Nonce: n, Call: call, Return: ret, Result: result, Token: token}
}

func TestCheck(t *testing.T) {
	none := driver.Nonce{}
	for _, tc := range []struct {
		name    string
		history []conformance.Operation
		ok      bool
	}{
		{"one after the other", []conformance.Operation{
			op("acquire", n1, 0, 1, "ok", 5), op("leader", none, 2, 3, "ok", 5), op("acquire", n2, 4, 5, "held", 0),
			op("resign", n1, 6, 7, "ok", 0), op("acquire", n2, 8, 9, "ok", 6), op("renew", n1, 10, 11, "lost", 0),
		}, true},
		{"two winners", []conformance.Operation{op("acquire", n1, 0, 5, "ok", 5), op("acquire", n2, 1, 6, "ok", 6)}, false},
		{"the token goes back", []conformance.Operation{
			op("acquire", n1, 0, 1, "ok", 5), op("resign", n1, 2, 3, "ok", 0), op("acquire", n2, 4, 5, "ok", 5),
		}, false},
		{"a lost reply that took effect late", []conformance.Operation{
			op("acquire", n1, 0, conformance.Never, "unknown", 0), op("leader", none, 1, 2, "none", 0),
			op("leader", none, 3, 4, "ok", 7), op("acquire", n2, 5, 6, "held", 0),
		}, true},
		{"a leader nobody can be", []conformance.Operation{op("leader", none, 0, 1, "ok", 7)}, false},
		{"a stale read", []conformance.Operation{
			op("acquire", n1, 0, 1, "ok", 5), op("resign", n1, 2, 3, "ok", 0), op("leader", none, 4, 5, "ok", 5),
		}, false},
		{"a duplicate of a resigned attempt leads", []conformance.Operation{
			op("acquire", n1, 0, 1, "ok", 5), op("resign", n1, 2, 3, "ok", 0), op("acquire", n1, 4, 5, "ok", 6),
		}, false},
		{"renewed after it was resigned", []conformance.Operation{
			op("acquire", n1, 0, 1, "ok", 5), op("resign", n1, 2, 3, "ok", 0), op("renew", n1, 4, 5, "ok", 0),
		}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Checker{}.Check(tc.history)
			if (err == nil) != tc.ok {
				t.Errorf("want accepted %v, got %v", tc.ok, err)
			}
			if err != nil && !strings.Contains(err.Error(), "no correct store") {
				t.Errorf("the error does not say what is wrong: %v", err)
			}
		})
	}
}
