package file

import "github.com/multilock/multilock-go/core/driver"

// privateClock is the identity of a clock that nobody else is known to share:
// all records but one's own are then judged by the slow rule.
func privateClock() string { return "private/" + driver.NewNonce().String() }
