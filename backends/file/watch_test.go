package file

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

type sink struct {
	mu    sync.Mutex
	wakes map[string]int
	all   int
	lost  map[driver.Nonce]bool
}

func newSink() *sink { return &sink{wakes: map[string]int{}, lost: map[driver.Nonce]bool{}} }

func (s *sink) Wake(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakes[group]++
}

func (s *sink) WakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all++
}

func (s *sink) Lost(group string, nonce driver.Nonce) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[nonce] = true
}

func (s *sink) woken(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wakes[group]
}

func (s *sink) hasLost(n driver.Nonce) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost[n]
}

// modes runs a test notified and polled; elsewhere than on Linux both are polled.
func modes(t *testing.T, test func(t *testing.T, watched func(d *fileDriver) (*sink, driver.Subscription))) {
	for _, polled := range []bool{false, true} {
		t.Run(map[bool]string{false: "notified", true: "polled"}[polled], func(t *testing.T) {
			test(t, func(d *fileDriver) (*sink, driver.Subscription) {
				if polled {
					d.disk = unnotified{d.disk.(*hostDisk)}
				}
				s := newSink()
				sub, err := d.Watch(t.Context(), s)
				if err != nil {
					t.Fatal(err)
				}
				return s, sub
			})
		})
	}
}

// unnotified is a disk on a system without inotify.
type unnotified struct{ *hostDisk }

func (unnotified) notifier(func(change)) (notifier, error) { return nil, errors.ErrUnsupported }

func TestWakeOnResign(t *testing.T) {
	modes(t, func(t *testing.T, watched func(d *fileDriver) (*sink, driver.Subscription)) {
		dir := t.TempDir()
		a, b := openIn(t, dir), openIn(t, dir)
		s, sub := watched(b)
		for round := range 5 {
			term, _ := acquire(t, a, request("g", "a", time.Hour))
			other, _ := acquire(t, a, request("other", "a", time.Hour))
			if err := sub.Add(t.Context(), "g"); err != nil {
				t.Fatal(err)
			}
			for range 20 { // renewals wake nobody
				if err := renew(a, term, time.Hour, map[string]string{"round": fmt.Sprint(round)}); err != nil {
					t.Fatal(err)
				}
			}
			before := s.woken("g")
			if err := a.Resign(t.Context(), term); err != nil {
				t.Fatal(err)
			}
			if err := a.Resign(t.Context(), other); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the wake-up of a resign", func() bool { return s.woken("g") > before })
			sub.Remove("g")
		}
		if n := s.woken("other"); n > 0 {
			t.Errorf("%d wake-ups for a group that is not watched", n)
		}
		if err := errors.Join(sub.Close(), sub.Close()); err != nil {
			t.Error(err)
		}
		if err := sub.Add(t.Context(), "g"); !errors.Is(err, driver.ErrClosed) {
			t.Errorf("add after close: %v", err)
		}
	})
}

func TestRenewalsAreSilent(t *testing.T) {
	dir := t.TempDir()
	a, b := openIn(t, dir), openIn(t, dir)
	s := newSink()
	sub, err := b.Watch(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Watch(t.Context(), s); err == nil {
		t.Error("Watch a second time")
	}
	term, _ := acquire(t, a, request("g", "a", time.Hour))
	if err := sub.Add(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := renew(a, term, time.Hour, nil); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(3 * pollInterval)
	if n := s.woken("g"); n != 0 {
		t.Errorf("%d wake-ups while the leader renews", n)
	}
}

func TestWakeOnCloseAndRemoval(t *testing.T) {
	modes(t, func(t *testing.T, watched func(d *fileDriver) (*sink, driver.Subscription)) {
		dir := t.TempDir()
		b := openIn(t, dir)
		s, sub := watched(b)
		if err := sub.Add(t.Context(), "g"); err != nil {
			t.Fatal(err)
		}
		for name, end := range map[string]func(a *fileDriver) error{
			"closed":            (*fileDriver).Close,
			"record removed":    func(a *fileDriver) error { return os.Remove(topPath(t, a, "g")) },
			"directory removed": func(a *fileDriver) error { return os.RemoveAll(a.disk.(*hostDisk).groupPath("g")) },
		} {
			a := openIn(t, dir)
			var term driver.Term
			eventually(t, "a term to end", func() bool {
				req := request("g", "a", time.Hour)
				g, err := a.Acquire(t.Context(), req)
				term = driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}
				return err == nil
			})
			// The watch itself must be in force again after its directory was removed.
			time.Sleep(3 * pollInterval)
			before := s.woken("g")
			if err := end(a); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the wake-up: "+name, func() bool { return s.woken("g") > before })
			_ = a.Resign(t.Context(), term)
			_ = a.Close()
		}
	})
}

func topPath(t *testing.T, d *fileDriver, group string) string {
	t.Helper()
	gens, err := d.disk.generations(group)
	if err != nil || len(gens) == 0 {
		t.Fatal(gens, err)
	}
	disk, ok := d.disk.(*hostDisk)
	if !ok {
		disk = d.disk.(unnotified).hostDisk
	}
	return disk.generationPath(group, gens[len(gens)-1])
}

func TestLostIsPushed(t *testing.T) {
	modes(t, func(t *testing.T, watched func(d *fileDriver) (*sink, driver.Subscription)) {
		dir := t.TempDir()
		a := openIn(t, dir)
		early, _ := acquire(t, a, request("early", "a", time.Hour)) // before the watch
		s, _ := watched(a)
		late, _ := acquire(t, a, request("late", "a", time.Hour))
		kept, _ := acquire(t, a, request("kept", "a", time.Hour))
		for _, term := range []driver.Term{early, late} {
			if err := os.Remove(topPath(t, a, term.Group)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "Lost for "+term.Group, func() bool { return s.hasLost(term.Nonce) })
			if err := renew(a, term, time.Hour, nil); !errors.Is(err, driver.ErrLost) {
				t.Errorf("renew: %v", err)
			}
		}
		if s.hasLost(kept.Nonce) {
			t.Error("Lost for a term that is held")
		}
	})
}

// TestManyGroups: one descriptor per led group, and none per followed one.
func TestManyGroups(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	descriptors := func() int {
		e, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	const n = 1000
	dir := shmDir(t)
	a, b := openIn(t, dir), openIn(t, dir)
	before, goroutines := descriptors(), runtime.NumGoroutine()
	sa, sb := newSink(), newSink()
	if _, err := a.Watch(t.Context(), sa); err != nil {
		t.Fatal(err)
	}
	sub, err := b.Watch(t.Context(), sb)
	if err != nil {
		t.Fatal(err)
	}
	terms := make([]driver.Term, n)
	for i := range n {
		group := fmt.Sprintf("group-%d", i)
		terms[i], _ = acquire(t, a, request(group, "a", time.Hour))
		mustHold(t, b, request(group, "b", time.Hour))
		if err := sub.Add(t.Context(), group); err != nil {
			t.Fatal(err)
		}
	}
	used := descriptors() - before
	t.Logf("%d led and %d followed groups: %d descriptors, %d goroutines more", n, n, used, runtime.NumGoroutine()-goroutines)
	if used > n+10 {
		t.Errorf("%d descriptors for %d led groups", used, n)
	}
	if g := runtime.NumGoroutine() - goroutines; g > 10 {
		t.Errorf("%d goroutines", g)
	}
	var reqs []driver.RenewRequest
	for _, term := range terms {
		reqs = append(reqs, driver.RenewRequest{Term: term, TTL: time.Hour})
	}
	began := time.Now()
	a.Renew(t.Context(), reqs, func(r driver.RenewResult) {
		if r.Err != nil {
			t.Errorf("%s: %v", terms[r.Index].Group, r.Err)
		}
	})
	t.Logf("renewing %d terms took %v", n, time.Since(began))
	for _, term := range terms {
		if err := a.Resign(t.Context(), term); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a wake-up for each group", func() bool {
		sb.mu.Lock()
		defer sb.mu.Unlock()
		return len(sb.wakes) == n || sb.all > 0
	})
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "descriptors given back", func() bool { return descriptors() <= before })
}

// shmDir is a directory in memory where there is one, for tests that would wait
// for thousands of fsyncs otherwise.
func shmDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "multilock")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// TestHandoverTime prints how long a planned handover takes: resign, wake-up,
// acquire by a follower.
func TestHandoverTime(t *testing.T) {
	for name, dir := range map[string]string{"disk": t.TempDir(), "memory": shmDir(t)} {
		t.Run(name, func(t *testing.T) {
			a, b := openIn(t, dir), openIn(t, dir)
			woken := make(chan struct{}, 1)
			sub, err := b.Watch(t.Context(), wakeFunc(func() {
				select {
				case woken <- struct{}{}:
				default:
				}
			}))
			if err != nil {
				t.Fatal(err)
			}
			if err := sub.Add(t.Context(), "g"); err != nil {
				t.Fatal(err)
			}
			var total, worst time.Duration
			const rounds = 20
			for range rounds {
				term, _ := acquire(t, a, request("g", "a", time.Hour))
				select {
				case <-woken:
				default:
				}
				began := time.Now()
				if err := a.Resign(t.Context(), term); err != nil {
					t.Fatal(err)
				}
				select {
				case <-woken:
				case <-time.After(patience):
					t.Fatal("no wake-up")
				}
				next, _ := acquire(t, b, request("g", "b", time.Hour))
				took := time.Since(began)
				total, worst = total+took, max(worst, took)
				if err := b.Resign(t.Context(), next); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("planned handover: %v on average, %v at worst", total/rounds, worst)
		})
	}
}

type wakeFunc func()

func (f wakeFunc) Wake(string)               { f() }
func (f wakeFunc) WakeAll()                  { f() }
func (f wakeFunc) Lost(string, driver.Nonce) {}

// unfreed is a disk on which a dying owner still holds its lock for some looks: the
// kernel closes its files one after the other.
type unfreed struct {
	*hostDisk
	looks *atomic.Int64
}

func (u unfreed) probe(o lockRef) liveness {
	if u.looks.Add(-1) >= 0 {
		return ownerAlive
	}
	return u.hostDisk.probe(o)
}

// An owner that was dying when the watch began, its record closed already, and its
// lock not: nothing more is told.
func TestWakeAfterADeathThatBeganBefore(t *testing.T) {
	dir := t.TempDir()
	a := openIn(t, dir)
	if _, err := a.Acquire(t.Context(), request("g", "a", time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	b := openIn(t, dir)
	looks := &atomic.Int64{}
	looks.Store(2) // of the watch and of an attempt
	b.disk = unfreed{b.disk.(*hostDisk), looks}
	s := newSink()
	sub, err := b.Watch(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Add(t.Context(), "g"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Acquire(t.Context(), request("g", "b", time.Hour)); err == nil {
		t.Fatal("the lock is not held: the test shows nothing")
	}
	eventually(t, "the wake-up", func() bool { return s.woken("g") > 0 })
}
