//go:build linux || darwin

package file

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var (
	errNotDirectory error = syscall.ENOTDIR
	errReadOnly     error = syscall.EROFS
)

// openShared opens a file. The os package sets O_CLOEXEC, so a child process
// never keeps a lock or a record open.
func openShared(path string, flag int) (*os.File, error) {
	return os.OpenFile(path, flag, fileMode)
}

// tryLock takes a flock without waiting; false if somebody has it. flock belongs
// to the open file, so it also works between the Backends of one process, which
// fcntl locks do not.
func tryLock(f *os.File, exclusive bool) (bool, error) {
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

func inodeOf(f *os.File) (uint64, error) {
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

// syncDirectory makes the names in a directory durable.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
