package conformancetest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/file"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
)

// TestMain lets the kit run candidates in processes of their own.
func TestMain(m *testing.M) { conformance.Main(m, file.OpenURL) }

// newHarness is a fresh directory. It knows the format of the files on its own,
// so that it does to them what another program might.
func newHarness(tb conformance.TB) conformance.Harness {
	dir := filepath.Join(tb.TempDir(), "leaders")
	return conformance.Harness{
		Name: "file",
		TTL:  2 * time.Second,
		URL:  "file://" + filepath.ToSlash(dir),
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) {
			d, info, err := file.NewDriver(file.Options{Directory: dir})
			if err != nil {
				tb.Fatalf("open: %v", err)
			}
			return d, info
		},
		RemoveRecord: func(tb conformance.TB, group string) {
			must(tb, os.RemoveAll(groupDirectory(tb, dir, group)))
		},
		CorruptRecord: func(tb conformance.TB, group string) {
			must(tb, os.WriteFile(newestFile(tb, dir, group), []byte(`{"LeaderId":"somebody else's"}`), 0o600))
		},
		SetToken: func(tb conformance.TB, group string, token uint64) {
			rewrite(tb, newestFile(tb, dir, group), func(b map[string]json.RawMessage, _ []byte) {
				b["token"] = encode(tb, token)
			})
		},
		Age: func(tb conformance.TB, group string, d time.Duration) {
			path := newestFile(tb, dir, group)
			rewrite(tb, path, func(b map[string]json.RawMessage, slot []byte) {
				var at int64
				must(tb, json.Unmarshal(b["acquired_at_us"], &at))
				b["acquired_at_us"] = encode(tb, at-d.Microseconds())
				// The clock begins at the boot: nothing on it is older.
				binary.BigEndian.PutUint64(slot[8:], 0)
			})
			old := time.Now().Add(-d)
			must(tb, os.Chtimes(path, old, old))
		},
		LoseData: func(tb conformance.TB) { empty(tb, dir) },
		Snapshot: func(tb conformance.TB) func(conformance.TB) {
			backup := filepath.Join(tb.TempDir(), "backup")
			must(tb, os.CopyFS(backup, os.DirFS(dir)))
			return func(tb conformance.TB) {
				empty(tb, dir)
				must(tb, os.CopyFS(dir, os.DirFS(backup)))
			}
		},
		Checker: porcupinecheck.Checker{},
		Missing: map[conformance.Power]string{
			conformance.PowerLink:        "there is no network",
			conformance.PowerLock:        "there is no lock on a record that this backend would take or wait for",
			conformance.PowerSession:     "the liveness lock is the kernel's: only the end of the process or of the Backend frees it",
			conformance.PowerStepClock:   "expiry is judged by a clock that nobody can set",
			conformance.PowerManualClock: "expiry is judged by the kernel's clock; the model check in the backend's module moves its own by a nanosecond",
			conformance.PowerRestart:     "there is no server; records of an earlier boot are tested in the backend's module",
			conformance.PowerRequests:    "there are system calls, not requests",
		},
	}
}

func must(tb conformance.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("harness: %v", err)
	}
}

func encode(tb conformance.TB, v any) json.RawMessage {
	tb.Helper()
	p, err := json.Marshal(v)
	must(tb, err)
	return p
}

// groupDirectory finds a group by its marker file.
func groupDirectory(tb conformance.TB, dir, group string) string {
	tb.Helper()
	markers, err := filepath.Glob(filepath.Join(dir, "*.leader", "group"))
	must(tb, err)
	for _, m := range markers {
		if name, err := os.ReadFile(m); err == nil && string(bytes.TrimSuffix(name, []byte("\n"))) == group {
			return filepath.Dir(m)
		}
	}
	tb.Fatalf("harness: group %q has no directory in %s", group, dir)
	return ""
}

// newestFile finds the highest generation of a group.
func newestFile(tb conformance.TB, dir, group string) string {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(groupDirectory(tb, dir, group), "[0-9]*"))
	must(tb, err)
	if len(files) == 0 {
		tb.Fatalf("harness: group %q has no record", group)
	}
	return slices.Max(files)
}

// empty removes what is in a directory, but not the directory.
func empty(tb conformance.TB, dir string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	must(tb, err)
	for _, e := range entries {
		must(tb, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
}

// rewrite changes the body and both slots of a record and makes its checksums
// right again, in place.
func rewrite(tb conformance.TB, path string, change func(body map[string]json.RawMessage, slot []byte)) {
	tb.Helper()
	const slots, slotSize, bodyAt = 64, 64, 192
	table := crc32.MakeTable(crc32.Castagnoli)
	image, err := os.ReadFile(path)
	must(tb, err)
	n := binary.BigEndian.Uint32(image[8:])
	var body map[string]json.RawMessage
	must(tb, json.Unmarshal(image[bodyAt:bodyAt+n], &body))
	for i := range 2 {
		slot := image[slots+i*slotSize:][:slotSize]
		change(body, slot)
		binary.BigEndian.PutUint32(slot[slotSize-4:], crc32.Checksum(slot[:slotSize-4], table))
	}
	text := encode(tb, body)
	binary.BigEndian.PutUint32(image[8:], uint32(len(text)))
	binary.BigEndian.PutUint32(image[12:], crc32.Checksum(text, table))
	image = append(image[:bodyAt], text...) // without the metadata
	for i := range 2 {
		slot := image[slots+i*slotSize:][:slotSize]
		clear(slot[28:40])
		binary.BigEndian.PutUint32(slot[slotSize-4:], crc32.Checksum(slot[:slotSize-4], table))
	}
	must(tb, os.WriteFile(path, image, 0o600))
}
