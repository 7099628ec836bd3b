package file

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func TestRemovedAndReplacedRecord(t *testing.T) {
	dir := t.TempDir()
	a, b := openIn(t, dir), openIn(t, dir)
	for name, change := range map[string]func(path string) error{
		"removed": os.Remove,
		"replaced": func(path string) error {
			p, err := os.ReadFile(path)
			if err == nil {
				err = errors.Join(os.WriteFile(path+".new", p, 0o600), os.Rename(path+".new", path))
			}
			return err
		},
		"directory removed": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
		"all removed":       func(path string) error { return os.RemoveAll(dir) },
	} {
		t.Run(name, func(t *testing.T) {
			term, _ := acquire(t, a, request(name, "a", time.Minute))
			gens, err := a.disk.generations(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := change(a.disk.(*hostDisk).generationPath(name, gens[len(gens)-1])); err != nil {
				t.Fatal(err)
			}
			if err := renew(a, term, time.Minute, nil); !errors.Is(err, driver.ErrLost) {
				t.Errorf("renew: %v", err)
			}
			if name == "replaced" {
				return // the copy is live until its time is over
			}
			next, _ := acquire(t, b, request(name, "b", time.Minute))
			if next.Token <= term.Token {
				t.Errorf("token %d after %d", next.Token, term.Token)
			}
		})
	}
}

// TestForeignRecords: no record that cannot be judged is ever read as free, and
// none blocks for longer than one TTL without a change.
func TestForeignRecords(t *testing.T) {
	const ttl = 400 * time.Millisecond
	rewrite := func(change func(r *record, s *slot)) func(t *testing.T, d *fileDriver, path string) {
		return func(t *testing.T, d *fileDriver, path string) {
			image, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			r, err := decodeRecord(image)
			s, whole := decodeSlots(image)
			if err != nil || !whole {
				t.Fatal(err, whole)
			}
			change(&r, &s)
			image, _ = encodeRecord(r, s, nil)
			if err := os.WriteFile(path, image, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	raw := func(change func(image []byte) []byte) func(t *testing.T, d *fileDriver, path string) {
		return func(t *testing.T, d *fileDriver, path string) {
			image, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(image), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, damage := range map[string]func(t *testing.T, d *fileDriver, path string){
		// After a reboot the clock begins anew: the expiry may lie in the past or far ahead.
		"another boot, expired": rewrite(func(r *record, s *slot) { r.clock, s.expiry = "linux/other/1", 1 }),
		"another boot, ahead":   rewrite(func(r *record, s *slot) { r.clock, s.expiry = "linux/other/1", 1<<60 }),
		"another time namespace": rewrite(func(r *record, s *slot) {
			r.clock, s.expiry = r.clock+"0", 1
		}),
		"own clock, expiry that it cannot have written": rewrite(func(r *record, s *slot) { s.expiry += time.Hour }),
		"torn slot":        raw(func(p []byte) []byte { p[slotOffset+9] ^= 1; return p }),
		"torn slots":       raw(func(p []byte) []byte { p[slotOffset] ^= 1; p[slotOffset+slotSize] ^= 1; return p }),
		"torn body":        raw(func(p []byte) []byte { p[bodyOffset+4] ^= 1; return p }),
		"empty":            raw(func(p []byte) []byte { return nil }),
		"cut off":          raw(func(p []byte) []byte { return p[:bodyOffset+10] }),
		"another version":  raw(func(p []byte) []byte { p[7] = '9'; return p }),
		"not ours":         raw(func(p []byte) []byte { return []byte("{\"LeaderId\":\"x\"}") }),
		"of another group": rewrite(func(r *record, s *slot) { r.group = "other" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			owner, d := openIn(t, dir), openIn(t, dir)
			term, _ := acquire(t, owner, request("g", "owner", ttl))
			gens, _ := d.disk.generations("g")
			damage(t, d, d.disk.(*hostDisk).generationPath("g", gens[0]))

			began := time.Now()
			rec := mustHold(t, d, request("g", "b", ttl))
			if rec.Remaining <= 0 || rec.Remaining > ttl {
				t.Errorf("told to wait %v", rec.Remaining)
			}
			if _, err := d.Leader(t.Context(), "g"); err == nil && rec.Participant == "" || errors.Is(err, driver.ErrNoLeader) {
				t.Errorf("leader: %v", err)
			}
			var next driver.Grant
			eventually(t, "takeover of a record that does not change", func() bool {
				var err error
				next, err = d.Acquire(t.Context(), request("g", "b", ttl))
				return err == nil
			})
			if took := time.Since(began); took < ttl {
				t.Errorf("taken over after %v, before a TTL of %v", took, ttl)
			}
			if next.Token <= term.Token {
				t.Errorf("token %d after %d", next.Token, term.Token)
			}
			if err := renew(owner, term, ttl, nil); !errors.Is(err, driver.ErrLost) {
				t.Errorf("renew by the old owner: %v", err)
			}
		})
	}
}

// TestForeignRecordThatChanges: as long as its owner renews, a record of another
// clock is not taken over, however long it is watched.
func TestForeignRecordThatChanges(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second // far above what a loaded machine may delay a renewal
	dir := t.TempDir()
	owner, d := openIn(t, dir), openIn(t, dir)
	if err := d.ready(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	d.clockID = "linux/another/1"
	term, _ := acquire(t, owner, request("g", "owner", ttl))
	for end := time.Now().Add(5 * ttl / 2); time.Now().Before(end); time.Sleep(ttl / 20) {
		if err := renew(owner, term, ttl, nil); err != nil {
			t.Fatalf("renew: %v", err)
		}
		mustHold(t, d, request("g", "b", ttl))
	}
}

func TestMisconfiguration(t *testing.T) {
	root := t.TempDir()
	plain := filepath.Join(root, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"missing":         {Directory: filepath.Join(root, "missing"), NoAutoCreate: true},
		"not a directory": {Directory: plain},
		"below a file":    {Directory: filepath.Join(plain, "x")},
		"unwritable":      {Directory: "/proc/multilock"},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, o)
			for range 2 {
				_, err := d.Acquire(t.Context(), request("g", "a", time.Second))
				if !errors.Is(err, driver.ErrMisconfigured) {
					t.Errorf("acquire: %v", err)
				}
			}
			if err := d.Ping(t.Context()); !errors.Is(err, driver.ErrMisconfigured) {
				t.Errorf("ping: %v", err)
			}
		})
	}
	t.Run("cured", func(t *testing.T) {
		dir := filepath.Join(root, "later")
		d := open(t, Options{Directory: dir, NoAutoCreate: true})
		if _, err := d.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrMisconfigured) {
			t.Errorf("leader: %v", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		acquire(t, d, request("g", "a", time.Second))
	})
	t.Run("marker of another group", func(t *testing.T) {
		d := openIn(t, filepath.Join(root, "marker"))
		acquire(t, d, request("g", "a", time.Second))
		h := d.disk.(*hostDisk)
		if err := os.WriteFile(filepath.Join(h.groupPath("g"), markerName), []byte("other\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		e := openIn(t, filepath.Join(root, "marker"))
		if err := e.ensureGroup("g", 1); !errors.Is(classify(err), driver.ErrMisconfigured) {
			t.Errorf("a directory of another group: %v", err)
		}
	})
}
