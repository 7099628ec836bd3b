package porcupinecheck_test

import (
	"fmt"

	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
)

// The kit records histories and hands them to the harness's checker.
func Example() {
	h := conformance.Harness{Checker: porcupinecheck.Checker{}} // and the other fields
	fmt.Println(h.Checker.Check(nil))                           // the kit does this
	// Output: <nil>
}
