// Package fence guards files and other local resources with fencing tokens.
//
// A leader that was stopped for longer than its TTL may go on with a write it
// had begun, while its successor writes already. Leases cannot prevent that; a
// resource that looks at the token can. A [Guard] remembers the highest token it
// has admitted and refuses every lower one:
//
//	g, err := fence.Open("/var/lib/app/state.fence")
//	...
//	err = g.Do(ctx, term.Token, func() error { return os.WriteFile("/var/lib/app/state", data, 0o600) })
//	if errors.Is(err, fence.ErrStale) { /* another leads by now */ }
//
// Everybody who writes the resource must go through a Guard of the same path. A
// successor is protected from its predecessor once it has shown its own token:
// let it begin with a [Guard.Do].
//
// The check and the write are one critical section between processes, held by a
// file lock. A process that is stopped inside Do holds up the others, for their
// contexts' time, and does not corrupt anything: that is the price of guarding a
// resource which cannot check tokens by itself. If the process dies, the kernel
// frees the lock.
package fence

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/multilock/multilock-go/backends/file/internal/osfile"
)

var (
	// ErrStale refuses a token lower than one already admitted. The error is a
	// [*StaleError].
	ErrStale = errors.New("fence: stale token")
	// ErrDamaged says that the guard's file does not tell the highest token. It is
	// never taken for zero: somebody must decide what to do.
	ErrDamaged = errors.New("fence: the guard's file is damaged")
)

// StaleError tells the refused token and the highest one admitted.
type StaleError struct {
	Token, Highest uint64
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("fence: stale token %d: %d was admitted before", e.Token, e.Highest)
}

// Is makes errors.Is(err, ErrStale) true.
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// Guard admits tokens that do not go down. It may be used by many goroutines,
// and the same path by many Guards and processes of one host.
type Guard struct {
	path string
	turn chan struct{} // holds one value while a goroutine of this Guard is inside
}

// Open returns the Guard whose memory is the file path, and makes the file if
// there is none. The file must be on a local file system, and stays for ever:
// deleting it forgets the tokens.
func Open(path string) (*Guard, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("fence: %w", err)
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("fence: %w", err)
		}
	} else if err != nil {
		return nil, fmt.Errorf("fence: %w", err)
	}
	return &Guard{path: path, turn: make(chan struct{}, 1)}, nil
}

// create makes the file whole or not at all: with both places written, a write
// that is cut off later always leaves one.
func create(path string) error {
	dir := filepath.Dir(path)
	f, err := osfile.Open(path+".new-"+rand.Text(), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	for i := range int64(2) {
		err = errors.Join(err, memory{next: i}.write(f, 0))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return osfile.SyncDirectory(dir)
}

// Do runs write if no token higher than token has been admitted, and admits the
// token before, durably. No other Do on the same path runs meanwhile, in any
// process. Do waits for its turn until ctx ends, and then returns its error
// without running write. The error of write is returned as it is.
func (g *Guard) Do(ctx context.Context, token uint64, write func() error) error {
	return g.locked(ctx, func(f *os.File) error {
		m, err := read(f)
		if err != nil {
			return err
		}
		if token < m.highest {
			return &StaleError{Token: token, Highest: m.highest}
		}
		if token > m.highest {
			if err := m.write(f, token); err != nil {
				return fmt.Errorf("fence: %w", err)
			}
		}
		return write()
	})
}

// Highest returns the highest token admitted so far, 0 if none was.
func (g *Guard) Highest(ctx context.Context) (uint64, error) {
	var highest uint64
	err := g.locked(ctx, func(f *os.File) error {
		m, err := read(f)
		highest = m.highest
		return err
	})
	return highest, err
}

// A lock that is taken is tried again after a pause: waiting in the kernel could
// not be ended by a context.
const (
	firstPause = time.Millisecond
	lastPause  = 50 * time.Millisecond
)

func (g *Guard) locked(ctx context.Context, do func(f *os.File) error) error {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-g.turn }()
	if err := ctx.Err(); err != nil {
		return err
	}
	f, err := osfile.Open(g.path, os.O_RDWR)
	if err != nil {
		return fmt.Errorf("fence: %w", err)
	}
	defer f.Close() // frees the lock
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		ok, err := osfile.TryLock(f, true)
		if err != nil {
			return fmt.Errorf("fence: lock: %w", err)
		}
		if ok {
			return do(f)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// The file holds the highest token twice, in places that are written in turn, so
// that a write cut off by a crash leaves the previous one:
// magic, token, CRC-32C.
const (
	magic     = "MLFENCE1"
	placeSize = 8 + 8 + 4
	// Apart by more than a sector, so that no device tears both.
	placeStride = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type memory struct {
	highest uint64
	next    int64 // the place to write
}

func read(f *os.File) (memory, error) {
	var m memory
	found := false
	for i := range int64(2) {
		p := make([]byte, placeSize)
		n, err := f.ReadAt(p, i*placeStride)
		if err != nil && !errors.Is(err, io.EOF) {
			return memory{}, fmt.Errorf("fence: %w", err)
		}
		token, ok := decode(p[:n])
		if ok && (!found || token > m.highest) {
			m = memory{highest: token, next: 1 - i}
		}
		found = found || ok
	}
	if !found {
		return memory{}, fmt.Errorf("%w: %s", ErrDamaged, f.Name())
	}
	return m, nil
}

func decode(p []byte) (uint64, bool) {
	if len(p) < placeSize || string(p[:8]) != magic || binary.BigEndian.Uint32(p[16:]) != crc32.Checksum(p[:16], castagnoli) {
		return 0, false
	}
	return binary.BigEndian.Uint64(p[8:]), true
}

func (m memory) write(f *os.File, token uint64) error {
	p := make([]byte, 0, placeSize)
	p = append(p, magic...)
	p = binary.BigEndian.AppendUint64(p, token)
	p = binary.BigEndian.AppendUint32(p, crc32.Checksum(p, castagnoli))
	if _, err := f.WriteAt(p, m.next*placeStride); err != nil {
		return err
	}
	return f.Sync()
}
