package custombackend

import (
	"encoding/json"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/porcupinecheck"
	"github.com/multilock/multilock-go/core/driver"
)

// TestMain writes the report.
func TestMain(m *testing.M) { conformance.Main(m, nil) }

// TestConformance puts the backend through every rule of the kit.
func TestConformance(t *testing.T) { conformance.Run(t, newHarness) }

// newHarness is a fresh file.
func newHarness(tb conformance.TB) conformance.Harness {
	s, err := OpenStore(filepath.Join(tb.TempDir(), "leases.db"))
	if err != nil {
		tb.Fatalf("%v", err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	clock := &clock{}
	s.now = clock.now
	return conformance.Harness{
		Name: "bbolt",
		TTL:  time.Second,
		NewDriver: func(conformance.TB) (driver.Driver, driver.Info) {
			return s.NewDriver()
		},
		RemoveRecord: func(tb conformance.TB, group string) {
			update(tb, s, func(b *bbolt.Bucket) error { return b.Delete([]byte(group)) })
		},
		CorruptRecord: func(tb conformance.TB, group string) {
			update(tb, s, func(b *bbolt.Bucket) error { return b.Put([]byte(group), []byte("somebody else's")) })
		},
		SetToken: func(tb conformance.TB, group string, token uint64) {
			change(tb, s, group, func(r *record) { r.Token = token })
		},
		Age: func(tb conformance.TB, group string, d time.Duration) {
			change(tb, s, group, func(r *record) {
				r.AcquiredAt -= d.Microseconds()
				r.Expires -= d.Microseconds()
			})
		},
		StepClock:   func(_ conformance.TB, d time.Duration) { clock.step(d) },
		ManualClock: func(conformance.TB) (func(time.Duration), time.Duration) { return clock.stop(), time.Microsecond },
		LoseData: func(tb conformance.TB) {
			update(tb, s, func(b *bbolt.Bucket) error {
				return b.ForEach(func(k, _ []byte) error { return b.Delete(k) })
			})
		},
		Snapshot: func(tb conformance.TB) func(conformance.TB) {
			saved := map[string][]byte{}
			update(tb, s, func(b *bbolt.Bucket) error {
				return b.ForEach(func(k, v []byte) error { saved[string(k)] = append([]byte(nil), v...); return nil })
			})
			return func(tb conformance.TB) {
				update(tb, s, func(b *bbolt.Bucket) error {
					for k, v := range saved {
						if err := b.Put([]byte(k), v); err != nil {
							return err
						}
					}
					return nil
				})
			}
		},
		Checker: porcupinecheck.Checker{},
		Missing: map[conformance.Power]string{
			conformance.PowerLink:     "an embedded store has no network",
			conformance.PowerLock:     "the file belongs to this package; nobody else can hold a transaction on it",
			conformance.PowerSession:  "a client has no session",
			conformance.PowerRestart:  "the store starts again with the process; TestReopen does that",
			conformance.PowerProcess:  "bbolt lets one process open a file",
			conformance.PowerRequests: "there are transactions, not requests",
		},
	}
}

// TestReopen: tokens go on increasing after the file was closed, and a term that
// is live then still is.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "leases.db")
	var last uint64
	for range 3 {
		s, err := OpenStore(path)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := s.NewDriver()
		term := driver.Term{Group: "g", Participant: "p", Nonce: driver.NewNonce()}
		g, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: term.Nonce, TTL: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if g.Token <= last {
			t.Errorf("token %d after %d", g.Token, last)
		}
		last = g.Token
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = OpenStore(path); err != nil {
			t.Fatal(err)
		}
		d, _ = s.NewDriver()
		if rec, err := d.Leader(t.Context(), "g"); err != nil || rec.Token != g.Token {
			t.Errorf("the live term is gone after reopening: %+v, %v", rec, err)
		}
		if err := d.Resign(t.Context(), term); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// clock is the wall clock, until a rule steps or stops it.
type clock struct {
	mu     sync.Mutex
	offset time.Duration
	frozen time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen.IsZero() {
		return c.frozen
	}
	return time.Now().Add(c.offset)
}

func (c *clock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

func (c *clock) stop() (advance func(time.Duration)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = time.Now()
	return func(d time.Duration) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.frozen = c.frozen.Add(d)
	}
}

func update(tb conformance.TB, s *Store, f func(b *bbolt.Bucket) error) {
	tb.Helper()
	if err := s.db.Update(func(tx *bbolt.Tx) error { return f(tx.Bucket(bucket)) }); err != nil {
		tb.Fatalf("harness: %v", err)
	}
}

// change rewrites a record behind the driver's back.
func change(tb conformance.TB, s *Store, group string, f func(r *record)) {
	tb.Helper()
	update(tb, s, func(b *bbolt.Bucket) error {
		var r record
		if err := json.Unmarshal(b.Get([]byte(group)), &r); err != nil {
			return err
		}
		f(&r)
		data, err := json.Marshal(&r)
		if err != nil {
			return err
		}
		return b.Put([]byte(group), data)
	})
}
