//go:build linux || darwin || windows

package file

import "syscall"

var (
	errNotDirectory error = syscall.ENOTDIR
	errReadOnly     error = syscall.EROFS
)
