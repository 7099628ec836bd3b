//go:build unix

package conformancetest

import (
	"os"
	"syscall"

	"github.com/multilock/multilock-go/conformance"
)

// lockFile holds a record locked, as another program might.
func lockFile(tb conformance.TB, path string) func() {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(tb, err)
	must(tb, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	return func() { must(tb, f.Close()) }
}
