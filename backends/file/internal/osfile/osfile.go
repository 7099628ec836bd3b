// Package osfile holds the few calls on files that differ between systems.
package osfile

import (
	"errors"
	"io/fs"
)

// ErrPlatform says that this operating system is not supported.
var ErrPlatform = errors.New("file: this operating system is not supported")

// Mode of new files: the umask decides who may take part, since participants may
// run under different users.
const Mode fs.FileMode = 0o666
