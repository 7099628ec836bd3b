package driver_test

import (
	"errors"
	"fmt"

	"github.com/multilock/multilock-go/core/driver"
)

// A driver makes no nonces; core gives it one for each attempt. It only has to
// store them.
func ExampleParseNonce() {
	n := driver.NewNonce()
	back, err := driver.ParseNonce(n.String())
	fmt.Println(back == n, err)

	_, err = driver.ParseNonce("somebody else's record")
	fmt.Println(err)
	// Output:
	// true <nil>
	// driver: nonce is not a UUID of 36 characters
}

// An answer that no retry can cure says what to change.
func ExampleMisconfigured() {
	answer := errors.New("NOPERM no permissions to run the 'eval' command")
	err := driver.Misconfigured(answer, "the user needs +eval")
	fmt.Println(err)
	fmt.Println(errors.Is(err, driver.ErrMisconfigured), errors.Is(err, answer))
	// Output:
	// NOPERM no permissions to run the 'eval' command (the user needs +eval)
	// true true
}
