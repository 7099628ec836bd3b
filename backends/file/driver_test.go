package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// patience bounds every wait of the tests for something that must happen.
const patience = 20 * time.Second

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func open(t *testing.T, o Options) *fileDriver {
	t.Helper()
	d, _, err := NewDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d.(*fileDriver)
}

func openIn(t *testing.T, dir string) *fileDriver {
	t.Helper()
	return open(t, Options{Directory: dir})
}

func request(group, participant string, ttl time.Duration) driver.AcquireRequest {
	return driver.AcquireRequest{Group: group, Participant: participant, Nonce: driver.NewNonce(), TTL: ttl}
}

func acquire(t *testing.T, d driver.Driver, req driver.AcquireRequest) (driver.Term, driver.Grant) {
	t.Helper()
	g, err := d.Acquire(t.Context(), req)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	return driver.Term{Group: req.Group, Participant: req.Participant, Nonce: req.Nonce, Token: g.Token}, g
}

func mustHold(t *testing.T, d driver.Driver, req driver.AcquireRequest) driver.Record {
	t.Helper()
	_, err := d.Acquire(t.Context(), req)
	var held *driver.HeldError
	if !errors.As(err, &held) {
		t.Fatalf("acquire beside a live term: %v", err)
	}
	return held.Record
}

func renew(d driver.Driver, term driver.Term, ttl time.Duration, metadata map[string]string) error {
	err := errors.New("not reported")
	d.Renew(context.Background(), []driver.RenewRequest{{Term: term, TTL: ttl, Metadata: metadata}},
		func(r driver.RenewResult) { err = r.Err })
	return err
}

func TestLifeOfATerm(t *testing.T) {
	dir := t.TempDir()
	a, b := openIn(t, dir), openIn(t, dir)
	if _, err := b.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrNoLeader) {
		t.Fatalf("leader of a new group: %v", err)
	}
	req := request("g", "a", time.Minute)
	req.Metadata = map[string]string{"zone": "1"}
	term, grant := acquire(t, a, req)
	if grant.Granted != time.Minute || grant.AcquiredAt.IsZero() {
		t.Errorf("grant %+v", grant)
	}
	rec := mustHold(t, b, request("g", "b", time.Second))
	if rec.Term != term || rec.TTL != time.Minute || rec.Remaining <= 0 || rec.Remaining > time.Minute ||
		!maps.Equal(rec.Metadata, req.Metadata) || !rec.AcquiredAt.Equal(grant.AcquiredAt) {
		t.Errorf("held by %+v, want %+v", rec, term)
	}
	// The reply was lost: the same nonce again.
	again, g2 := acquire(t, a, req)
	if again != term || !g2.AcquiredAt.Equal(grant.AcquiredAt) || g2.Granted != time.Minute {
		t.Errorf("again %+v %+v", again, g2)
	}
	for _, m := range []map[string]string{{"zone": "2", "x": "y"}, nil, {"zone": "3"}} {
		if err := renew(a, term, time.Minute, m); err != nil {
			t.Fatal(err)
		}
	}
	rec, err := b.Leader(t.Context(), "g")
	if err != nil || rec.Term != term || !maps.Equal(rec.Metadata, map[string]string{"zone": "3"}) {
		t.Errorf("leader %+v, %v", rec, err)
	}
	if err := renew(a, term, time.Minute, map[string]string{}); err != nil {
		t.Fatal(err)
	}
	if rec, err = b.Leader(t.Context(), "g"); err != nil || len(rec.Metadata) != 0 {
		t.Errorf("metadata were not cleared: %+v, %v", rec, err)
	}
	// A shorter TTL does not shorten.
	if err := renew(a, term, time.Second, nil); err != nil {
		t.Fatal(err)
	}
	if rec, err = b.Leader(t.Context(), "g"); err != nil || rec.Remaining < 50*time.Second || rec.Remaining > rec.TTL {
		t.Errorf("renewal shortened: %+v, %v", rec, err)
	}
	if err := a.Resign(t.Context(), term); err != nil {
		t.Fatal(err)
	}
	if err := a.Resign(t.Context(), term); !errors.Is(err, driver.ErrLost) {
		t.Errorf("second resign: %v", err)
	}
	if err := renew(a, term, time.Minute, nil); !errors.Is(err, driver.ErrLost) {
		t.Errorf("renew after resign: %v", err)
	}
	if _, err := b.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrNoLeader) {
		t.Errorf("leader after resign: %v", err)
	}
	for _, d := range []*fileDriver{a, b} {
		if _, err := d.Acquire(t.Context(), req); !errors.Is(err, driver.ErrResigned) {
			t.Errorf("the nonce that resigned: %v", err)
		}
	}
	next, _ := acquire(t, b, request("g", "b", time.Minute))
	if next.Token <= term.Token {
		t.Errorf("token %d after %d", next.Token, term.Token)
	}
	// Still the last one that resigned, though another term is live.
	if err := b.Resign(t.Context(), term); !errors.Is(err, driver.ErrLost) {
		t.Errorf("resign of a stranger's old term: %v", err)
	}
	if _, err := a.Acquire(t.Context(), req); !errors.Is(err, driver.ErrResigned) {
		t.Errorf("the nonce that resigned, later: %v", err)
	}
	if rec, err := a.Leader(t.Context(), "g"); err != nil || rec.Term != next {
		t.Errorf("leader %+v, %v", rec, err)
	}
}

func TestExpiry(t *testing.T) {
	dir := t.TempDir()
	a, b := openIn(t, dir), openIn(t, dir)
	const ttl = 300 * time.Millisecond
	req := request("g", "a", ttl)
	before := time.Now()
	term, _ := acquire(t, a, req)
	var next driver.Term
	eventually(t, "takeover after the TTL", func() bool {
		r := request("g", "b", time.Minute)
		g, err := b.Acquire(t.Context(), r)
		if err != nil {
			return false
		}
		next = driver.Term{Group: "g", Participant: "b", Nonce: r.Nonce, Token: g.Token}
		return true
	})
	if d := time.Since(before); d < ttl {
		t.Errorf("taken over after %v", d)
	}
	if next.Token <= term.Token {
		t.Errorf("token %d after %d", next.Token, term.Token)
	}
	if err := renew(a, term, ttl, nil); !errors.Is(err, driver.ErrLost) {
		t.Errorf("renew of an expired term: %v", err)
	}
	if err := a.Resign(t.Context(), term); !errors.Is(err, driver.ErrLost) {
		t.Errorf("resign of an expired term: %v", err)
	}
	if rec, err := a.Leader(t.Context(), "g"); err != nil || rec.Term != next {
		t.Errorf("leader %+v, %v", rec, err)
	}
}

// TestExpiredUntaken: the same nonce after its own expiry is a new term.
func TestExpiredUntaken(t *testing.T) {
	a := openIn(t, t.TempDir())
	req := request("g", "a", 100*time.Millisecond)
	term, _ := acquire(t, a, req)
	time.Sleep(150 * time.Millisecond)
	if _, err := a.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrNoLeader) {
		t.Errorf("leader after expiry: %v", err)
	}
	again, _ := acquire(t, a, req)
	if again.Token <= term.Token {
		t.Errorf("token %d after %d", again.Token, term.Token)
	}
}

// TestOneDriverManyNonces: two electors of one group in one process.
func TestOneDriverManyNonces(t *testing.T) {
	a := openIn(t, t.TempDir())
	term, _ := acquire(t, a, request("g", "same", time.Minute))
	mustHold(t, a, request("g", "same", time.Minute))
	other := term
	other.Nonce = driver.NewNonce()
	if err := renew(a, other, time.Minute, nil); !errors.Is(err, driver.ErrLost) {
		t.Errorf("renew with another nonce: %v", err)
	}
	if err := a.Resign(t.Context(), other); !errors.Is(err, driver.ErrLost) {
		t.Errorf("resign with another nonce: %v", err)
	}
	if err := renew(a, term, time.Minute, nil); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	dir := t.TempDir()
	a, b := openIn(t, dir), openIn(t, dir)
	term, _ := acquire(t, a, request("g", "a", time.Hour))
	resigned, _ := acquire(t, b, request("h", "b", time.Hour))
	if err := b.Resign(t.Context(), resigned); err != nil {
		t.Fatal(err)
	}
	mustHold(t, b, request("g", "b", time.Hour))
	lockOf := func(d *fileDriver) string { return d.disk.(*hostDisk).lockPath(d.disk.owner().Name) }
	for _, d := range []*fileDriver{a, b} {
		for range 2 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Stat(lockOf(a)); err != nil {
		t.Errorf("a lock file that a record names is gone: %v", err)
	}
	if _, err := os.Stat(lockOf(b)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a lock file that nothing needs stays: %v", err)
	}
	if _, err := a.Acquire(t.Context(), request("g", "a", time.Second)); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("acquire after close: %v", err)
	}
	if err := renew(a, term, time.Second, nil); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("renew after close: %v", err)
	}
	if err := a.Resign(t.Context(), term); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("resign after close: %v", err)
	}
	if _, err := a.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("leader after close: %v", err)
	}
	if _, err := a.Watch(t.Context(), newSink()); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("watch after close: %v", err)
	}
	// The owner is visibly gone: no need to wait for an hour.
	c := openIn(t, dir)
	acquire(t, c, request("g", "c", time.Hour))
}

func TestContext(t *testing.T) {
	d := openIn(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Acquire(ctx, request("g", "a", time.Second)); !errors.Is(err, context.Canceled) {
		t.Errorf("acquire: %v", err)
	}
	if _, err := d.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrNoLeader) {
		t.Errorf("a cancelled acquire left a record: %v", err)
	}
	// A term that is busy delays neither those who wait nor the other terms.
	busy, _ := acquire(t, d, request("busy", "a", time.Minute))
	idle, _ := acquire(t, d, request("idle", "a", time.Minute))
	h, err := d.enter(t.Context(), termKey{"busy", busy.Nonce}, false)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var mu sync.Mutex
	results := map[int]error{}
	d.Renew(short, []driver.RenewRequest{{Term: busy, TTL: time.Minute}, {Term: idle, TTL: time.Minute}}, func(r driver.RenewResult) {
		mu.Lock()
		defer mu.Unlock()
		results[r.Index] = r.Err
	})
	if err, ok := results[1]; !ok || err != nil {
		t.Errorf("the idle term: %v, reported %v", err, ok)
	}
	if err, ok := results[0]; ok {
		t.Errorf("the busy term was reported: %v", err)
	}
	if err := d.Resign(short, busy); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("resign of the busy term: %v", err)
	}
	d.leave(h)
	if err := d.Resign(t.Context(), busy); err != nil {
		t.Error(err)
	}
}

// TestTokens: strictly increasing over terms that end in every way.
func TestTokens(t *testing.T) {
	dir := t.TempDir()
	d := openIn(t, dir)
	var last uint64
	for i := range 100 {
		req := request("g", fmt.Sprint(i), 100*time.Millisecond)
		var term driver.Term
		eventually(t, "the next term", func() bool {
			g, err := d.Acquire(t.Context(), req)
			term = driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}
			return err == nil
		})
		if term.Token <= last {
			t.Fatalf("token %d after %d", term.Token, last)
		}
		last = term.Token
		switch i % 5 {
		case 0: // left to expire
		case 1:
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = openIn(t, dir)
		case 2:
			if err := os.RemoveAll(d.disk.(*hostDisk).groupPath("g")); err != nil {
				t.Fatal(err)
			}
		default:
			if err := d.Resign(t.Context(), term); err != nil && !errors.Is(err, driver.ErrLost) {
				t.Fatal(err)
			}
		}
	}
	gens, err := d.disk.generations("g")
	if err != nil || len(gens) > 2 {
		t.Errorf("generations %v, %v: only the two highest stay", gens, err)
	}
}

func TestSweepOfDeadOwners(t *testing.T) {
	dir := t.TempDir()
	a := openIn(t, dir)
	acquire(t, a, request("g", "a", time.Hour))
	lock := a.disk.(*hostDisk).lockPath(a.disk.owner().Name)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	staged := filepath.Join(dir, stagingDirectory, "left")
	if err := os.WriteFile(staged, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	live := openIn(t, dir)
	acquire(t, live, request("h", "live", time.Hour))
	if _, err := os.Stat(lock); err != nil {
		t.Fatalf("the lock file of one just dead: %v", err)
	}
	old := time.Now().Add(-2 * deadFor)
	mark := lock[:len(lock)-len(lockSuffix)] + deadSuffix
	liveLock := live.disk.(*hostDisk).lockPath(live.disk.owner().Name)
	for _, path := range []string{mark, staged, liveLock, lock} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := openIn(t, dir).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{mark, staged, lock} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was not swept: %v", path, err)
		}
	}
	if _, err := os.Stat(liveLock); err != nil {
		t.Errorf("a live owner's lock file: %v", err)
	}
}
