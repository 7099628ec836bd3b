//go:build linux || darwin

package osfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Open opens a file. The os package sets O_CLOEXEC, so a child process
// never keeps a lock or a record open.
func Open(path string, flag int) (*os.File, error) {
	return os.OpenFile(path, flag, Mode)
}

// TryLock takes a flock without waiting; false if somebody has it. flock belongs
// to the open file, so it also works between the Backends of one process, which
// fcntl locks do not.
func TryLock(f *os.File, exclusive bool) (bool, error) {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB) //nolint:gosec // a descriptor fits an int
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, err
		}
	}
}

// Inode tells a file from all others of its file system.
func Inode(f *os.File) (uint64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fmt.Errorf("file: no inode for %s", f.Name())
	}
	return st.Ino, nil
}

// SyncDirectory makes the names in a directory durable.
func SyncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
