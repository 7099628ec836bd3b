//go:build !linux && !darwin && !windows

package file

import (
	"errors"
	"time"
)

// Other systems are refused at the first attempt: nobody has reasoned about
// their clocks and locks. The package still compiles there, so that a program
// with several backends does.

var (
	errNotDirectory = errors.New("not a directory")
	errReadOnly     = errors.New("read-only file system")
)

func bootClock() (time.Duration, error)              { return 0, errPlatform }
func clockIdentity() (string, error)                 { return "", errPlatform }
func networkFileSystem(string) (string, bool, error) { return "", false, nil }
