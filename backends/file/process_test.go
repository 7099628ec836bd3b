//go:build linux

package file

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// Tests with real processes: the test binary runs itself as a participant.

const childEnv = "MULTILOCK_FILE_TEST_CHILD"

func TestMain(m *testing.M) {
	if mode := os.Getenv(childEnv); mode != "" {
		childMain(mode)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a participant in a process of its own.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Writer
	lines chan string
	once  sync.Once
}

func startChild(t *testing.T, mode, dir string, args ...string) *child {
	t.Helper()
	return startChildWith(t, nil, mode, dir, args...)
}

// startChildWith runs the participant under a wrapping command.
func startChildWith(t *testing.T, wrapper []string, mode, dir string, args ...string) *child {
	t.Helper()
	line := append(append(slices.Clone(wrapper), os.Args[0], dir), args...)
	c := &child{t: t, cmd: exec.Command(line[0], line[1:]...), lines: make(chan string, 10_000)}
	c.cmd.Env = append(os.Environ(), childEnv+"="+mode)
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(c.kill)
	return c
}

func (c *child) signal(s syscall.Signal) {
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Errorf("%v: %v", s, err)
	}
}

// kill ends the process, now or before, and waits until it is gone.
func (c *child) kill() {
	c.once.Do(func() {
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait()
	})
}

// expect returns the fields behind the next line that begins with word.
func (c *child) expect(word string) []string {
	c.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				c.t.Fatalf("the process ended before it said %q", word)
			}
			if f := strings.Fields(line); f[0] == word {
				return f[1:]
			}
		case <-timeout:
			c.t.Fatalf("the process never said %q", word)
		}
	}
}

// quiet fails if the process says word within d.
func (c *child) quiet(word string, d time.Duration) {
	c.t.Helper()
	timeout := time.After(d)
	for {
		select {
		case line := <-c.lines:
			if strings.HasPrefix(line, word) {
				c.t.Fatalf("the process said %q", line)
			}
		case <-timeout:
			return
		}
	}
}

// stopped waits until the process has been stopped by a signal.
func (c *child) stopped() {
	c.t.Helper()
	eventually(c.t, "the process stops", func() bool { return c.isStopped() })
}

func (c *child) isStopped() bool {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return false
	}
	after := string(p[strings.LastIndexByte(string(p), ')')+2:])
	return after[0] == 'T'
}

func number(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func boot() int64 {
	d, err := bootClock()
	if err != nil {
		panic(err)
	}
	return int64(d)
}

// TestKill: a leader that is killed is replaced at once, whatever its TTL.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	var total, worst time.Duration
	const rounds = 8
	leader := startChild(t, "campaign", dir, "g", "p0", "1h")
	leader.expect("lead")
	for i := range rounds {
		follower := startChild(t, "campaign", dir, "g", fmt.Sprintf("p%d", i+1), "1h")
		follower.expect("following")
		began := boot()
		leader.signal(syscall.SIGKILL)
		took := time.Duration(number(t, follower.expect("lead")[1]) - began)
		leader.kill()
		total, worst = total+took, max(worst, took)
		leader = follower
	}
	t.Logf("takeover after kill -9 with a TTL of 1h: %v on average, %v at worst (goal: 250ms)", total/rounds, worst)
	if worst > 5*time.Second {
		t.Errorf("takeover took %v", worst)
	}
}

// TestKillElector is TestKill with the whole library: electors of real processes.
func TestKillElector(t *testing.T) {
	dir := t.TempDir()
	var total, worst time.Duration
	const rounds = 5
	leader := startChild(t, "elector", dir, "g", "p0", "1h")
	leader.expect("lead")
	for i := range rounds {
		follower := startChild(t, "elector", dir, "g", fmt.Sprintf("p%d", i+1), "1h")
		follower.expect("following")
		began := boot()
		leader.signal(syscall.SIGKILL)
		took := time.Duration(number(t, follower.expect("lead")[1]) - began)
		leader.kill()
		total, worst = total+took, max(worst, took)
		leader = follower
	}
	t.Logf("takeover by an elector after kill -9 with a TTL of 1h: %v on average, %v at worst (goal: 250ms)", total/rounds, worst)
	if worst > 5*time.Second {
		t.Errorf("takeover took %v", worst)
	}
}

// TestStopElector: an elector that is stopped beyond its TTL and goes on finds
// its work's context over and itself deposed, in its first instruction.
func TestStopElector(t *testing.T) {
	dir := t.TempDir()
	const ttl = time.Second
	leader := startChild(t, "elector", dir, "g", "a", ttl.String())
	leader.expect("lead")
	follower := startChild(t, "elector", dir, "g", "b", ttl.String())
	follower.expect("following")
	leader.signal(syscall.SIGSTOP)
	leader.stopped()
	follower.expect("lead")
	leader.signal(syscall.SIGCONT)
	leader.expect("over")
	follower.quiet("over", ttl)
}

// TestStop: a leader that is stopped is replaced when its TTL is over, and finds
// itself deposed when it goes on.
func TestStop(t *testing.T) {
	dir := t.TempDir()
	const ttl = 600 * time.Millisecond
	leader := startChild(t, "campaign", dir, "g", "a", ttl.String())
	leader.expect("lead")
	follower := startChild(t, "campaign", dir, "g", "b", ttl.String())
	follower.expect("following")
	leader.signal(syscall.SIGSTOP)
	leader.stopped()
	began := boot()
	lead := follower.expect("lead")
	t.Logf("takeover after SIGSTOP with a TTL of %v: %v", ttl, time.Duration(number(t, lead[1])-began))
	leader.signal(syscall.SIGCONT)
	leader.expect("lost")
	follower.quiet("lost", ttl)
}

// TestRestart: a process that comes back under the same name begins a new term;
// its predecessor's is not its own.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	first := startChild(t, "campaign", dir, "g", "same", "1h")
	one := first.expect("lead")
	second := startChild(t, "campaign", dir, "g", "same", "1h")
	second.expect("following")
	second.quiet("lead", 300*time.Millisecond)
	first.kill()
	two := second.expect("lead")
	if number(t, two[0]) <= number(t, one[0]) {
		t.Errorf("token %s after %s", two[0], one[0])
	}
}

// TestChildInheritsNothing: a process that the leader started lives on; it keeps
// neither the lock nor the record open.
func TestChildInheritsNothing(t *testing.T) {
	dir := t.TempDir()
	leader := startChild(t, "campaign-with-child", dir, "g", "a", "1h")
	pid := int(number(t, leader.expect("child")[0]))
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	leader.expect("lead")
	follower := startChild(t, "campaign", dir, "g", "b", "1h")
	follower.expect("following")
	leader.kill()
	follower.expect("lead")
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("the grandchild should have survived: %v", err)
	}
}

// TestTimeNamespace: boot id and lock file look alike on both sides of a time
// namespace, but the clocks are a day apart.
func TestTimeNamespace(t *testing.T) {
	wrapper := []string{"unshare", "--time", "--boottime", "100000"}
	if os.Getuid() != 0 {
		wrapper = append(wrapper, "--user", "--map-root-user")
	}
	if out, err := exec.Command(wrapper[0], append(wrapper[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("TIME NAMESPACES NOT TESTED: %v needs root or user namespaces: %v: %s", wrapper, err, out)
	}
	dir := t.TempDir()
	const ttl = 800 * time.Millisecond
	leader := startChild(t, "campaign", dir, "g", "a", ttl.String())
	leader.expect("lead")
	stranger := startChildWith(t, wrapper, "campaign", dir, "g", "b", ttl.String())
	stranger.expect("following")
	stranger.quiet("lead", 3*ttl) // the leader renews: its record changes
	began := time.Now()
	leader.kill()
	stranger.expect("lead")
	took := time.Since(began)
	t.Logf("takeover across a time namespace with a TTL of %v: %v", ttl, took)
	if took < ttl/3 { // renewed at most TTL/3 ago when killed, and seen at most that late
		t.Errorf("taken over after %v: the lock of an owner with another clock is no evidence", took)
	}
}

// TestFrozenAtEveryStep stops a process at each step of acquire, renew and
// resign. The next process leads within the TTL, and the stopped one, when it
// goes on, holds nothing.
func TestFrozenAtEveryStep(t *testing.T) {
	const ttl = 300 * time.Millisecond
	const parallel = 8
	slots := make(chan struct{}, parallel)
	// Fewer than 30 steps; the test checks below that it went past the last.
	const most = 40
	var mu sync.Mutex
	last := 0
	t.Run("steps", func(t *testing.T) {
		for n := 1; n <= most; n++ {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				dir := t.TempDir()
				c := startChild(t, "stop-at", dir, "g", "frozen", ttl.String(), strconv.Itoa(n))
				var step string
				done := false
				eventually(t, "the process stops", func() bool {
					select {
					case line := <-c.lines:
						if line == "done" {
							done = true
						}
						if s, ok := strings.CutPrefix(line, "stopping before "); ok {
							step = s
						}
					default:
					}
					return done || step != "" && c.isStopped()
				})
				if done {
					return // fewer steps than n
				}
				mu.Lock()
				last = max(last, n)
				mu.Unlock()

				d := openIn(t, dir)
				began := time.Now()
				req := request("g", "next", time.Hour)
				var grant driver.Grant
				eventually(t, "a successor of a process stopped before "+step, func() bool {
					var err error
					grant, err = d.Acquire(t.Context(), req)
					return err == nil
				})
				at := boot()
				if took := time.Since(began); took > ttl+10*time.Second {
					t.Errorf("stopped before %s: successor after %v", step, took)
				}
				c.signal(syscall.SIGCONT)
				if _, err := io.WriteString(c.stdin, "go on\n"); err != nil {
					t.Fatal(err)
				}
				believed := int64(0) // no belief from then on
				for line := range c.lines {
					f := strings.Fields(line)
					if f[0] == "granted" {
						believed = max(believed, number(t, f[2]))
					}
					if f[0] == "over" {
						believed = min(believed, number(t, f[1]))
					}
					if f[0] == "done" {
						break
					}
				}
				if believed > at {
					t.Errorf("stopped before %s: believed %v longer than its successor has led", step, time.Duration(believed-at))
				}
				term := driver.Term{Group: "g", Participant: "next", Nonce: req.Nonce, Token: grant.Token}
				if rec, err := d.Leader(t.Context(), "g"); err != nil || rec.Term != term {
					t.Errorf("stopped before %s: afterwards the leader is %+v, %v", step, rec, err)
				}
				if err := renew(d, term, time.Hour, nil); err != nil {
					t.Errorf("stopped before %s: the successor cannot renew: %v", step, err)
				}
			})
		}
	})
	t.Logf("stopped before each of %d steps", last)
	if last < 20 || last == most {
		t.Errorf("the last step was %d", last)
	}
}

// TestRaceOfProcesses: many processes churn, some are killed or stopped. The
// times they believed do not overlap, and tokens follow the order of the terms.
func TestRaceOfProcesses(t *testing.T) {
	dir := t.TempDir()
	const ttl = 200 * time.Millisecond
	var h history
	started := 0
	start := func() *racer {
		started++
		r := &racer{child: startChild(t, "churn", dir, "g", fmt.Sprintf("p%d", started), ttl.String()), done: make(chan struct{})}
		go func() {
			defer close(r.done)
			for line := range r.lines {
				h.take(t, r, strings.Fields(line))
			}
		}()
		return r
	}
	racers := make([]*racer, 6)
	for i := range racers {
		racers[i] = start()
	}
	end := func(r *racer) {
		at := boot()
		r.kill()
		<-r.done
		h.died(r, at)
	}
	for began := time.Now(); time.Since(began) < 6*time.Second || h.count() < enoughTerms && time.Since(began) < 3*patience; {
		time.Sleep(time.Duration(20+rand.IntN(80)) * time.Millisecond)
		i := rand.IntN(len(racers))
		switch rand.IntN(4) {
		case 0:
			end(racers[i])
			racers[i] = start()
		case 1:
			racers[i].signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(rand.IntN(int(2 * ttl))))
			racers[i].signal(syscall.SIGCONT)
		}
	}
	for _, r := range racers {
		end(r)
	}
	t.Logf("%d terms of %d processes", h.judge(t), started)
}

type racer struct {
	*child
	done chan struct{}
}

// belief is the time in which a participant took a term for its own.
type belief struct {
	who        any
	token      uint64
	start, end int64
}

// history collects the beliefs of many participants.
type history struct {
	mu    sync.Mutex
	terms map[uint64]*belief
}

// take understands: lead TOKEN START DEADLINE, until TOKEN DEADLINE, over TOKEN TIME.
func (h *history) take(t *testing.T, who any, f []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	token := uint64(number(t, f[1]))
	switch f[0] {
	case "lead":
		if h.terms == nil {
			h.terms = map[uint64]*belief{}
		}
		if h.terms[token] != nil {
			t.Errorf("token %d a second time", token)
		}
		h.terms[token] = &belief{who, token, number(t, f[2]), number(t, f[3])}
	case "until":
		h.terms[token].end = number(t, f[2])
	case "over":
		h.terms[token].end = min(h.terms[token].end, number(t, f[2]))
	}
}

func (h *history) died(who any, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.terms {
		if b.who == who {
			b.end = min(b.end, at)
		}
	}
}

// judge finds overlaps and returns the number of terms.
func (h *history) judge(t *testing.T) int {
	var all []*belief
	for _, b := range h.terms {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *belief) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if a.end > b.start {
			t.Errorf("token %d was believed in for %v after token %d had begun", a.token, time.Duration(a.end-b.start), b.token)
		}
		if b.token <= a.token {
			t.Errorf("token %d after %d", b.token, a.token)
		}
	}
	if len(all) < enoughTerms {
		t.Errorf("only %d terms", len(all))
	}
	return len(all)
}

// enoughTerms is how many a race needs to be one; a busy machine takes longer.
const enoughTerms = 20

func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.terms)
}

// TestRaceOfGoroutines: many Backends in one process, each with several electors.
func TestRaceOfGoroutines(t *testing.T) {
	const ttl = 150 * time.Millisecond
	dir := shmDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	var h history
	var wg sync.WaitGroup
	for range 12 {
		d := openIn(t, dir)
		for range 3 {
			wg.Go(func() {
				churn(ctx, d, "g", "p", ttl, func(f ...any) {
					h.take(t, "", strings.Fields(fmt.Sprintln(f...)))
				})
			})
		}
	}
	time.Sleep(4 * time.Second)
	for h.count() < enoughTerms && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	wg.Wait()
	t.Logf("%d terms", h.judge(t))
}

// childMain is the program of a participant: directory group participant TTL …
func childMain(mode string) {
	dir, group, participant := os.Args[1], os.Args[2], os.Args[3]
	ttl, err := time.ParseDuration(os.Args[4])
	if err != nil {
		panic(err)
	}
	if mode == "elector" {
		elect(dir, group, participant, ttl)
		return
	}
	x, _, err := NewDriver(Options{Directory: dir})
	if err != nil {
		panic(err)
	}
	d := x.(*fileDriver)
	switch mode {
	case "campaign":
		campaign(d, group, participant, ttl)
	case "campaign-with-child":
		if err := d.ready(context.Background(), true); err != nil {
			panic(err)
		}
		term, _, err := attempt(d, group, participant, ttl)
		if err != nil {
			panic(err)
		}
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Println("child", cmd.Process.Pid)
		fmt.Println("lead", term.Token, boot())
		select {}
	case "stop-at":
		at, err := strconv.Atoi(os.Args[5])
		if err != nil {
			panic(err)
		}
		stopAt(d, at, group, participant, ttl)
	case "churn":
		churn(context.Background(), d, group, participant, ttl, func(f ...any) { fmt.Println(f...) })
	}
}

// elect runs an elector whose work says that it leads, and when it is over.
func elect(dir, group, participant string, ttl time.Duration) {
	ctx := context.Background()
	b, err := Open(ctx, Options{Directory: dir})
	if err != nil {
		panic(err)
	}
	e, err := multilock.New(b, multilock.Options{Group: group, ParticipantID: participant, HeartbeatTimeout: ttl})
	if err != nil {
		panic(err)
	}
	changes := e.Changes(ctx, multilock.Changed) // before the run: none is missed
	go func() {
		for c := range changes {
			if p := c.Leader.Participant; p != "" && p != participant {
				fmt.Println("following", c.Leader.Participant)
			}
		}
	}()
	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		fmt.Println("lead", term.Token, boot())
		for ctx.Err() == nil && e.IsLeader() {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("over", term.Token, context.Cause(ctx))
		<-ctx.Done()
		return nil
	})
	panic(err)
}

func attempt(d *fileDriver, group, participant string, ttl time.Duration) (driver.Term, int64, error) {
	req := request(group, participant, ttl)
	t0 := boot()
	g, err := d.Acquire(context.Background(), req)
	return driver.Term{Group: group, Participant: participant, Nonce: req.Nonce, Token: g.Token}, t0 + int64(g.Granted), err
}

type childSink struct {
	wake chan struct{}
	lost chan driver.Nonce
}

func (s childSink) Wake(string) {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
func (s childSink) WakeAll()                      { s.Wake("") }
func (s childSink) Lost(_ string, n driver.Nonce) { s.lost <- n }

// campaign follows as an elector does: it sleeps until a wake-up or the expiry,
// leads, renews, and says when it has lost.
func campaign(d *fileDriver, group, participant string, ttl time.Duration) {
	s := childSink{make(chan struct{}, 1), make(chan driver.Nonce, 10)}
	sub, err := d.Watch(context.Background(), s)
	if err != nil {
		panic(err)
	}
	if err := sub.Add(context.Background(), group); err != nil {
		panic(err)
	}
	for {
		term, _, err := attempt(d, group, participant, ttl)
		if err == nil {
			fmt.Println("lead", term.Token, boot())
			beat := time.NewTicker(ttl / 3)
			for err == nil {
				select {
				case <-beat.C:
					err = renew(d, term, ttl, nil)
				case n := <-s.lost:
					if n == term.Nonce {
						err = driver.ErrLost
					}
				}
			}
			beat.Stop()
			fmt.Println("lost", term.Token, err)
			continue
		}
		var held *driver.HeldError
		if !errors.As(err, &held) {
			panic(err)
		}
		fmt.Println("following", held.Record.Participant)
		select {
		case <-s.wake:
		case <-time.After(held.Record.Remaining + time.Millisecond):
		}
	}
}

// churn leads for short and ends in different ways.
func churn(ctx context.Context, d *fileDriver, group, participant string, ttl time.Duration, say func(f ...any)) {
	for ctx.Err() == nil {
		term, deadline, err := attempt(d, group, participant, ttl)
		if err != nil {
			time.Sleep(time.Duration(rand.IntN(int(ttl / 20))))
			continue
		}
		now := boot()
		if now >= deadline {
			continue
		}
		say("lead", term.Token, now, deadline)
		for range rand.IntN(4) {
			time.Sleep(time.Duration(rand.IntN(int(ttl / 2))))
			t0 := boot()
			var r driver.RenewResult
			d.Renew(context.Background(), []driver.RenewRequest{{Term: term, TTL: ttl}}, func(x driver.RenewResult) { r = x })
			if r.Err != nil {
				break
			}
			if now := boot(); now < deadline { // as core: a late answer revives nothing
				deadline = max(deadline, t0+int64(r.Granted))
				say("until", term.Token, deadline)
			}
		}
		if rand.IntN(5) > 0 {
			say("over", term.Token, boot())
			_ = d.Resign(context.Background(), term)
		} else {
			time.Sleep(ttl)
		}
	}
}

// stopAt acquires, renews twice and resigns, and stops itself before the n-th
// step on the disk.
func stopAt(d *fileDriver, n int, group, participant string, ttl time.Duration) {
	count := 0
	d.disk = steppedDisk{d.disk, func(step string) {
		count++
		if count == n {
			fmt.Println("stopping before", step)
			if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
				panic(err)
			}
			// The signal stops all threads a little later: this one goes no further
			// before it is told to.
			if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
				panic(err)
			}
		}
	}}
	term, deadline, err := attempt(d, group, participant, ttl)
	if err == nil {
		fmt.Println("granted", "acquire", deadline)
		for range 2 {
			t0 := boot()
			var r driver.RenewResult
			d.Renew(context.Background(), []driver.RenewRequest{{Term: term, TTL: ttl, Metadata: map[string]string{"a": "b"}}},
				func(x driver.RenewResult) { r = x })
			if r.Err == nil {
				fmt.Println("granted", "renew", t0+int64(r.Granted))
			}
		}
		fmt.Println("over", boot())
		// A term that is over is resigned all the same, as a best effort.
		_ = d.Resign(context.Background(), term)
	}
	fmt.Println("done")
}

// steppedDisk calls before in front of every step.
type steppedDisk struct {
	disk
	before func(step string)
}

func (s steppedDisk) identify() (string, error)     { s.before("identify"); return s.disk.identify() }
func (s steppedDisk) open() error                   { s.before("open"); return s.disk.open() }
func (s steppedDisk) clock() (time.Duration, error) { s.before("clock"); return s.disk.clock() }
func (s steppedDisk) ensureGroup(g string) error {
	s.before("ensureGroup")
	return s.disk.ensureGroup(g)
}

func (s steppedDisk) generations(g string) ([]uint64, error) {
	s.before("generations")
	return s.disk.generations(g)
}

func (s steppedDisk) load(g string, gen uint64) ([]byte, error) {
	s.before("load")
	return s.disk.load(g, gen)
}

func (s steppedDisk) probe(o lockRef) liveness { s.before("probe"); return s.disk.probe(o) }

func (s steppedDisk) remove(g string, gen uint64) error {
	s.before("remove")
	return s.disk.remove(g, gen)
}

func (s steppedDisk) stage(image []byte) (recordFile, error) {
	s.before("stage")
	f, err := s.disk.stage(image)
	if err != nil {
		return nil, err
	}
	return steppedFile{f, s.before}, nil
}

type steppedFile struct {
	recordFile
	before func(step string)
}

func (s steppedFile) publish(g string, gen uint64) error {
	s.before("publish")
	return s.recordFile.publish(g, gen)
}
func (s steppedFile) begins(image []byte) (bool, error) {
	s.before("begins")
	return s.recordFile.begins(image)
}

func (s steppedFile) inPlace() (bool, error) { s.before("inPlace"); return s.recordFile.inPlace() }
func (s steppedFile) write(p []byte, at int64) error {
	s.before("write")
	return s.recordFile.write(p, at)
}
func (s steppedFile) close() error { s.before("close"); return s.recordFile.close() }
