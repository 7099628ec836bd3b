package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/multilock/multilock-go/backends/file/internal/osfile"
)

// Inside the directory: owners/ holds the liveness locks, staging/ the files
// being written, and each group has a directory of its own.
const (
	ownersDirectory  = "owners"
	stagingDirectory = "staging"
	markerName       = "group"
	temporarySuffix  = ".tmp"
)

// directoryMode leaves it to the umask who may take part, as osfile.Mode does.
const directoryMode fs.FileMode = 0o777

// hostDisk is the real file system.
type hostDisk struct {
	root         string
	extension    string
	create       bool
	allowNetwork bool

	lock    *os.File // the liveness lock
	lockRef lockRef
	counter atomic.Uint64
}

func newHostDisk(o Options) (*hostDisk, error) {
	// Absolute, so that a later chdir of the process changes nothing.
	root, err := filepath.Abs(o.Directory)
	if err != nil {
		return nil, fmt.Errorf("file: directory %q: %w", o.Directory, err)
	}
	return &hostDisk{root: root, extension: o.Extension, create: !o.NoAutoCreate, allowNetwork: o.AllowNetworkFS}, nil
}

func (d *hostDisk) groupPath(group string) string {
	return filepath.Join(d.root, groupDirectory(group, d.extension))
}

func (d *hostDisk) generationPath(group string, gen uint64) string {
	return filepath.Join(d.groupPath(group), generationName(gen))
}

func (d *hostDisk) identify() (string, error) {
	existing := d.root
	for {
		fi, err := os.Stat(existing)
		if err == nil && !fi.IsDir() {
			return "", fmt.Errorf("file: %s: %w", existing, errNotDirectory)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if !d.create {
			return "", fmt.Errorf("%w: %s", errNoDirectory, d.root)
		}
		parent := filepath.Dir(existing)
		if parent == existing {
			return "", err
		}
		existing = parent
	}
	if !d.allowNetwork {
		name, network, err := networkFileSystem(existing)
		if err != nil {
			return "", fmt.Errorf("file: type of the file system of %s: %w", existing, err)
		}
		if network {
			return "", fmt.Errorf("%w (%s): %s", errNetwork, name, d.root)
		}
	}
	if _, err := bootClock(); err != nil {
		return "", err
	}
	return clockIdentity()
}

func (d *hostDisk) open() error {
	for _, dir := range []string{d.root, filepath.Join(d.root, ownersDirectory), filepath.Join(d.root, stagingDirectory)} {
		err := os.MkdirAll(dir, directoryMode)
		if errors.Is(err, fs.ErrNotExist) {
			// Its parents are there, and still: /proc, a dangling link.
			err = fmt.Errorf("%w and cannot be created: %w", errNoDirectory, err)
		}
		if err != nil {
			return err
		}
	}
	if err := osfile.SyncDirectory(d.root); err != nil {
		return err
	}
	if err := d.takeLock(); err != nil {
		return err
	}
	d.sweepOwners()
	d.sweepStaging()
	return nil
}

func (d *hostDisk) owner() lockRef { return d.lockRef }

func (d *hostDisk) clock() (time.Duration, error) { return bootClock() }

func (d *hostDisk) wall() time.Time { return time.Now() }

// ensureGroup makes the directory of a group with a marker that holds the full
// name: a directory is readable for people, and never shared by two groups.
func (d *hostDisk) ensureGroup(group string) error {
	path := d.groupPath(group)
	if err := os.Mkdir(path, directoryMode); err != nil && !errors.Is(err, fs.ErrExist) {
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		// Somebody removed the whole directory. Our lock file is gone with it, so
		// the next terms of this driver are taken over by the slow rule only.
		if err := os.MkdirAll(filepath.Join(d.root, stagingDirectory), directoryMode); err != nil {
			return err
		}
		if err := os.Mkdir(path, directoryMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	marker := filepath.Join(path, markerName)
	text, err := os.ReadFile(marker)
	if errors.Is(err, fs.ErrNotExist) {
		f, err := d.stage([]byte(group + "\n"))
		if err != nil {
			return err
		}
		err = f.(*hostFile).linkTo(marker)
		if closeErr := f.close(); err != nil && !errors.Is(err, fs.ErrExist) {
			return errors.Join(err, closeErr)
		}
		if err := osfile.SyncDirectory(d.root); err != nil {
			return err
		}
		text, err = os.ReadFile(marker)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if name := strings.TrimSuffix(string(text), "\n"); name != group {
		return fmt.Errorf("%w: %s holds %q, not %q", errMarker, path, name, group)
	}
	return nil
}

// generations reads the whole directory. A group's directory has a handful of
// entries, which the kernel hands out in one piece, under the directory's lock.
func (d *hostDisk) generations(group string) ([]uint64, error) {
	dir, err := os.Open(d.groupPath(group))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var gens []uint64
	for _, name := range names {
		if gen := parseGeneration(name); gen > 0 {
			gens = append(gens, gen)
		}
	}
	slices.Sort(gens)
	return gens, nil
}

func (d *hostDisk) load(group string, gen uint64) ([]byte, error) {
	f, err := osfile.Open(d.generationPath(group, gen), os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// The slots are within the first read, so that they are one look in time.
	image := make([]byte, 0, 4096)
	for len(image) < maxRecord {
		n, err := f.Read(image[len(image):cap(image)])
		image = image[:len(image)+n]
		if errors.Is(err, io.EOF) {
			return image, nil
		}
		if err != nil {
			return nil, err
		}
		if len(image) == cap(image) {
			image = slices.Grow(image, len(image))
		}
	}
	return image, nil // too long for a record: it will not decode
}

func (d *hostDisk) remove(group string, gen uint64) error {
	return os.Remove(d.generationPath(group, gen))
}

func (d *hostDisk) stage(image []byte) (recordFile, error) {
	name := fmt.Sprintf("%s-%d%s", strings.TrimSuffix(d.lockRef.Name, lockSuffix), d.counter.Add(1), temporarySuffix)
	path := filepath.Join(d.root, stagingDirectory, name)
	f, err := osfile.Open(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	h := &hostFile{disk: d, file: f, staged: path}
	if _, err = f.Write(image); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	return h, nil
}

// hostFile is a file of this driver.
type hostFile struct {
	disk   *hostDisk
	file   *os.File
	staged string // the name before publish; empty when removed
	path   string // the number's path, once linked
}

// linkTo gives the file its final name. The error of link is not proof that it
// failed (a network file system may lose the answer), so the name is looked at.
func (h *hostFile) linkTo(path string) error {
	err := os.Link(h.staged, path)
	h.path = path
	if err == nil {
		return nil
	}
	if ok, _ := h.inPlace(); ok {
		return nil
	}
	h.path = ""
	return err
}

func (h *hostFile) publish(group string, gen uint64) error {
	path := h.disk.generationPath(group, gen)
	if err := h.linkTo(path); err != nil {
		return err
	}
	if err := os.Remove(h.staged); err == nil {
		h.staged = ""
	}
	// Opened anew by its number: closing this descriptor, also by a kill, is what
	// inotify reports to those who watch the group's directory. The one it was
	// written through belongs to the staging directory in the kernel's eyes.
	again, err := osfile.Open(path, os.O_RDWR)
	if err != nil {
		return err
	}
	mine, err := sameFile(h.file, again)
	if err != nil || !mine {
		return errors.Join(err, again.Close(), errors.New("file: the record was replaced while it was being published"))
	}
	old := h.file
	h.file = again
	if err := old.Close(); err != nil {
		return err
	}
	return osfile.SyncDirectory(filepath.Dir(path))
}

func sameFile(a, b *os.File) (bool, error) {
	fa, err := a.Stat()
	if err != nil {
		return false, err
	}
	fb, err := b.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(fa, fb), nil
}

func (h *hostFile) inPlace() (bool, error) {
	mine, err := h.file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return os.SameFile(mine, there), nil
}

func (h *hostFile) begins(image []byte) (bool, error) {
	p := make([]byte, len(image))
	_, err := h.file.ReadAt(p, 0)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil && sameRecord(p, image), err
}

func (h *hostFile) write(p []byte, offset int64) error {
	_, err := h.file.WriteAt(p, offset)
	return err
}

func (h *hostFile) close() error {
	err := h.file.Close()
	if h.staged != "" {
		err = errors.Join(err, os.Remove(h.staged))
		h.staged = ""
	}
	return err
}

// lockText is what a lock file says to people.
type lockText struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Program string    `json:"program"`
}

func newLockText() []byte {
	program := ""
	if len(os.Args) > 0 {
		program = filepath.Base(os.Args[0])
	}
	p, err := json.Marshal(lockText{PID: os.Getpid(), Started: time.Now().UTC(), Program: program})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return append(p, '\n')
}
