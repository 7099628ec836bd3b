package file

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/multilock/multilock-go/backends/file/internal/osfile"
	"github.com/multilock/multilock-go/core/driver"
)

// The liveness lock: one file per Backend, locked for as long as the Backend
// lives. Nobody ever waits for it. The kernel frees it when the process is gone,
// and all descriptors are close-on-exec, so that a child process keeps nothing.

func (d *hostDisk) lockPath(name string) string {
	return filepath.Join(d.root, ownersDirectory, name)
}

// takeLock makes this Backend's lock file. It is locked before it gets the name
// that others look for, so that it is never seen free.
func (d *hostDisk) takeLock() error {
	nonce := driver.NewNonce()
	name := hex.EncodeToString(nonce[:]) + lockSuffix
	staged := filepath.Join(d.root, stagingDirectory, name)
	f, err := osfile.Open(staged, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	fail := func(err error) error { return errors.Join(err, f.Close(), os.Remove(staged)) }
	if _, err := f.Write(newLockText()); err != nil {
		return fail(err)
	}
	if ok, err := osfile.TryLock(f, true); err != nil || !ok {
		return fail(fmt.Errorf("file: cannot lock %s (a file system without locks?): %w", staged, errors.Join(err, errors.ErrUnsupported)))
	}
	inode, err := osfile.Inode(f)
	if err != nil {
		return fail(err)
	}
	if err := os.Rename(staged, d.lockPath(name)); err != nil {
		return fail(err)
	}
	d.lock, d.lockRef = f, lockRef{Name: name, Inode: inode}
	return nil
}

func (d *hostDisk) close(keep bool) error {
	var err error
	if !keep {
		err = os.Remove(d.lockPath(d.lockRef.Name))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, d.lock.Close())
}

func (d *hostDisk) probe(owner lockRef) liveness {
	if !validLockName(owner.Name) {
		return ownerUnknown
	}
	f, err := osfile.Open(d.lockPath(owner.Name), os.O_RDONLY)
	if err != nil {
		return ownerUnknown
	}
	defer f.Close()
	if inode, err := osfile.Inode(f); err != nil || inode != owner.Inode {
		return ownerUnknown
	}
	// Shared, so that two who probe at once do not take each other for the owner.
	switch free, err := osfile.TryLock(f, false); {
	case err != nil:
		return ownerUnknown
	case free:
		return ownerDead
	}
	return ownerAlive
}

const (
	deadSuffix = ".dead"
	// deadFor is how long a free lock file stays: while it is there, a record that
	// names it is taken over at once, afterwards by the slow rule.
	deadFor = 24 * time.Hour
)

// sweepOwners removes what owners left that have been dead for a day. A mark
// beside the lock tells since when; the lock file's own time is its birth. Best
// effort: what stays is swept next time.
func (d *hostDisk) sweepOwners() {
	dir := filepath.Join(d.root, ownersDirectory)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		id, ok := strings.CutSuffix(e.Name(), lockSuffix)
		if !ok || !validLockName(e.Name()) || !d.isFree(filepath.Join(dir, e.Name())) {
			continue
		}
		mark := filepath.Join(dir, id+deadSuffix)
		fi, err := os.Stat(mark)
		if errors.Is(err, fs.ErrNotExist) {
			if f, err := osfile.Open(mark, os.O_RDWR|os.O_CREATE|os.O_EXCL); err == nil {
				_ = f.Close()
			}
			continue
		}
		if err != nil || time.Since(fi.ModTime()) < deadFor {
			continue
		}
		_ = os.Remove(filepath.Join(dir, e.Name()))
		_ = os.Remove(mark)
	}
}

// sweepStaging removes files that were being written when their process died. A
// process that was only stopped for that long finds its file gone and fails.
func (d *hostDisk) sweepStaging() {
	dir := filepath.Join(d.root, stagingDirectory)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() && time.Since(fi.ModTime()) > deadFor {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func (d *hostDisk) isFree(path string) bool {
	f, err := osfile.Open(path, os.O_RDONLY)
	if err != nil {
		return false
	}
	defer f.Close()
	free, err := osfile.TryLock(f, false)
	return err == nil && free
}
