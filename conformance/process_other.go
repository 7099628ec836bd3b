//go:build !unix

package conformance

import "os"

// canStop: this system cannot stop a process and let it go on.
const canStop = false

var sigStop, sigCont os.Signal = os.Kill, os.Kill
