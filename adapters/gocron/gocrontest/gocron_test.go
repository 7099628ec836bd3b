// Package gocrontest runs the real gocron over the adapter and real backends.
package gocrontest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-co-op/gocron/v2"

	gocronlock "github.com/multilock/multilock-go/adapters/gocron"
	"github.com/multilock/multilock-go/backends/file"
	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("GOCRONTEST_DIRECTORY"); dir != "" {
		instance(dir)
		return
	}
	os.Exit(m.Run())
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30s: %s", what)
		}
	}
}

func backend(t *testing.T, store *memory.Store) *multilock.Backend {
	t.Helper()
	b, err := memory.Open(t.Context(), memory.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func schedule(t *testing.T, task any, opts ...gocron.SchedulerOption) gocron.Scheduler {
	t.Helper()
	s, err := gocron.NewScheduler(opts...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewJob(gocron.DurationJob(20*time.Millisecond), gocron.NewTask(task), gocron.WithName("job")); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { _ = s.Shutdown() })
	return s
}

// TestOnlyTheLeaderRunsJobs has three schedulers; the jobs move with leadership.
func TestOnlyTheLeaderRunsJobs(t *testing.T) {
	store := memory.NewStore()
	var electors [3]*multilock.Elector
	var runs, wrong [3]atomic.Int64
	for i := range electors {
		e, err := multilock.New(backend(t, store), multilock.Options{Group: "scheduler"})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		electors[i] = e
		schedule(t, gocronlock.WhileLeading(e, func(ctx context.Context, term multilock.Term) error {
			if now, ok := e.Term(); !ok || now != term {
				wrong[i].Add(1)
			}
			runs[i].Add(1)
			return nil
		}), gocron.WithDistributedElector(gocronlock.NewElector(e)))
	}
	leader := func() int {
		for i, e := range electors {
			if e.IsLeader() {
				return i
			}
		}
		return -1
	}
	for range 3 {
		eventually(t, "somebody leads", func() bool { return leader() >= 0 })
		l := leader()
		var before [3]int64
		for i := range runs {
			before[i] = runs[i].Load()
		}
		eventually(t, "the leader runs the job", func() bool { return runs[l].Load() >= before[l]+5 })
		for i := range runs {
			if i != l && runs[i].Load() != before[i] {
				t.Errorf("follower %d ran the job beside leader %d", i, l)
			}
		}
		if err := electors[l].Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range wrong {
		if wrong[i].Load() > 0 {
			t.Errorf("instance %d ran jobs under another term than its own", i)
		}
	}
	if err := gocronlock.NewElector(electors[0]).IsLeader(t.Context()); !errors.Is(err, gocronlock.ErrNotLeader) {
		t.Errorf("IsLeader of a stopped elector = %v", err)
	}
}

// TestALostTermEndsTheJob loses the record while a job runs.
func TestALostTermEndsTheJob(t *testing.T) {
	store := memory.NewStore()
	e, err := multilock.New(backend(t, store), multilock.Options{Group: "scheduler", HeartbeatTimeout: 600 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	schedule(t, gocronlock.WhileLeading(e, func(ctx context.Context, _ multilock.Term) error {
		once.Do(func() {
			close(begun)
			<-ctx.Done()
			ended <- context.Cause(ctx)
		})
		return nil
	}), gocron.WithDistributedElector(gocronlock.NewElector(e)))
	<-begun
	store.Remove("scheduler")
	select {
	case cause := <-ended:
		if !errors.Is(cause, multilock.ErrLost) {
			t.Errorf("the job ended with %v", cause)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the job did not hear of the loss")
	}
}

// TestEveryRunIsLockedByItself has three schedulers whose jobs never run at one time,
// and not more often than Hold allows.
func TestEveryRunIsLockedByItself(t *testing.T) {
	const hold = 300 * time.Millisecond
	store := memory.NewStore()
	var mu sync.Mutex
	var starts []time.Time
	var running, overlaps int
	var tokens []uint64
	for range 3 {
		l, err := gocronlock.NewLocker(backend(t, store), gocronlock.LockerOptions{Hold: hold})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		schedule(t, func() {
			term, ok := l.Term("job")
			mu.Lock()
			if running++; running > 1 {
				overlaps++
			}
			starts = append(starts, time.Now())
			if ok {
				tokens = append(tokens, term.Token)
			}
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			running--
			mu.Unlock()
		}, gocron.WithDistributedLocker(l))
	}
	begin := time.Now()
	eventually(t, "six runs", func() bool { mu.Lock(); defer mu.Unlock(); return len(starts) >= 6 })
	mu.Lock()
	defer mu.Unlock()
	if overlaps > 0 {
		t.Errorf("%d runs beside another", overlaps)
	}
	// Each run but the last was followed by the rest of its Hold.
	if spent := starts[5].Sub(begin); spent < 4*hold {
		t.Errorf("six runs within %v although each locks for %v", spent, hold)
	}
	for i := 1; i < len(tokens); i++ {
		if tokens[i] <= tokens[i-1] {
			t.Errorf("token %d after %d", tokens[i], tokens[i-1])
		}
	}
}

func TestLockerRefusals(t *testing.T) {
	store := memory.NewStore()
	one, err := gocronlock.NewLocker(backend(t, store), gocronlock.LockerOptions{Hold: -1})
	if err != nil {
		t.Fatal(err)
	}
	two, _ := gocronlock.NewLocker(backend(t, store), gocronlock.LockerOptions{Hold: -1})
	k, err := one.Lock(t.Context(), "github.com/x/y.(*T).Run-fm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Lock(t.Context(), "github.com/x/y.(*T).Run-fm"); !errors.Is(err, gocronlock.ErrLocked) {
		t.Errorf("second Lock = %v", err)
	}
	if err := k.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	k, err = two.Lock(t.Context(), "github.com/x/y.(*T).Run-fm")
	if err != nil {
		t.Fatalf("Lock after Unlock = %v", err)
	}
	if err := two.Close(t.Context()); err != nil { // while held
		t.Error(err)
	}
	if err := k.Unlock(t.Context()); !errors.Is(err, multilock.ErrLost) {
		t.Errorf("Unlock after Close = %v", err)
	}
	if _, err := two.Lock(t.Context(), "x"); !errors.Is(err, multilock.ErrClosed) {
		t.Errorf("Lock after Close = %v", err)
	}
	if _, err := one.Lock(t.Context(), "github.com/x/y.(*T).Run-fm"); err != nil {
		t.Errorf("Lock after Close of the other = %v", err)
	}
	if err := one.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := gocronlock.NewLocker(backend(t, store), gocronlock.LockerOptions{Prefix: "a/b"}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("bad prefix: %v", err)
	}
}

// instance is one process of TestAJobMovesWhenItsProcessIsKilled.
func instance(dir string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	b, err := file.Open(ctx, file.Options{Directory: dir})
	fail(err)
	e, err := multilock.New(b, multilock.Options{Group: "scheduler"})
	fail(err)
	fail(e.Start(ctx))
	s, err := gocron.NewScheduler(gocron.WithDistributedElector(gocronlock.NewElector(e)))
	fail(err)
	_, err = s.NewJob(gocron.DurationJob(20*time.Millisecond), gocron.NewTask(gocronlock.WhileLeading(e, func(_ context.Context, term multilock.Term) error {
		fmt.Println("ran", term.Token)
		return nil
	})))
	fail(err)
	s.Start()
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // ends with the test
}

// TestAJobMovesWhenItsProcessIsKilled is three processes on a directory: the job runs
// in one, and in another soon after that one was killed.
func TestAJobMovesWhenItsProcessIsKilled(t *testing.T) {
	dir := t.TempDir()
	type ran struct {
		process int
		token   string
	}
	runs := make(chan ran, 10_000)
	var processes [3]*exec.Cmd
	for i := range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "GOCRONTEST_DIRECTORY="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		processes[i] = cmd
		t.Cleanup(func() {
			_ = in.Close()
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		go func() {
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if token, ok := strings.CutPrefix(lines.Text(), "ran "); ok {
					runs <- ran{i, token}
				}
			}
		}()
	}
	next := func() ran {
		select {
		case r := <-runs:
			return r
		case <-time.After(30 * time.Second):
			t.Fatal("the job did not run for 30s")
			return ran{}
		}
	}
	first := next()
	for range 10 {
		if r := next(); r != first {
			t.Fatalf("ran in process %d with token %s, after process %d with token %s", r.process, r.token, first.process, first.token)
		}
	}
	killed := time.Now()
	if err := processes[first.process].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for {
		r := next()
		if r == first {
			continue // printed before
		}
		if r.process == first.process || r.token == first.token {
			t.Fatalf("process %d with token %s follows process %d with token %s", r.process, r.token, first.process, first.token)
		}
		t.Logf("the job moved within %v", time.Since(killed))
		return
	}
}
