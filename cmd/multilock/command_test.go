//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain makes the test binary the command under test: demo starts itself, too.
func TestMain(m *testing.M) {
	if os.Getenv("MULTILOCK_TEST_COMMAND") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience is generous: the tests wait for conditions, not for times.
const patience = time.Minute

// process is multilock under test.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan string // of standard output; closed at its end
	stderr bytes.Buffer
	ended  chan struct{}
}

func command(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0], args...), lines: make(chan string, 1000), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "MULTILOCK_TEST_COMMAND=1")
	p.cmd.Stderr = &p.stderr
	out, w := io.Pipe()
	p.cmd.Stdout = w
	p.cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	go func() {
		_ = p.cmd.Wait() // the status is looked at by those who expect one
		_ = w.Close()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// line waits for a line of standard output that begins with prefix.
func (p *process) line(prefix string) string {
	p.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case l, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("no line %q before the end; standard error:\n%s", prefix, p.stderr.String())
			}
			if rest, found := strings.CutPrefix(l, prefix); found {
				return rest
			}
		case <-limit:
			p.t.Fatalf("no line %q within %v", prefix, patience)
		}
	}
}

// status waits for the end and returns the exit status.
func (p *process) status() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("still running after %v", patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

func store(t *testing.T) string { return "file://" + t.TempDir() }

// run are the arguments that make it run a shell script.
func run(url, body string, flags ...string) []string {
	args := append([]string{"run", "--backend", url, "--group", "g"}, flags...)
	return append(args, "--", "sh", "-c", body)
}

func TestRunOnce(t *testing.T) {
	url := store(t)
	p := command(t, run(url, `echo "token $MULTILOCK_TOKEN $MULTILOCK_GROUP $MULTILOCK_PARTICIPANT"; exit 7`, "--once", "--id", "me")...)
	f := strings.Fields(p.line("token "))
	if len(f) != 3 || f[1] != "g" || f[2] != "me" {
		t.Errorf("environment %q", f)
	}
	if token, err := strconv.ParseUint(f[0], 10, 64); err != nil || token == 0 {
		t.Errorf("token %q", f[0])
	}
	if s := p.status(); s != 7 {
		t.Errorf("status %d", s)
	}
	p = command(t, run(url, `kill -KILL $$`, "--once")...)
	if s := p.status(); s != 128+9 {
		t.Errorf("status of a command that was killed: %d", s)
	}
}

func TestRunForwardsSignals(t *testing.T) {
	const body = `trap 'echo got usr1' USR1; trap 'echo got int; exit 3' INT; echo ready; while :; do sleep 0.05; done`
	p := command(t, run(store(t), body)...)
	p.line("ready")
	p.signal(syscall.SIGUSR1)
	p.line("got usr1")
	p.signal(syscall.SIGINT)
	p.line("got int")
	if s := p.status(); s != 0 {
		t.Errorf("status %d after a signal", s)
	}
	p = command(t, run(store(t), body, "--once")...)
	p.line("ready")
	p.signal(syscall.SIGINT)
	if s := p.status(); s != 3 {
		t.Errorf("status %d, not the command's", s)
	}
}

func TestRunOnceThatNeverLed(t *testing.T) {
	url := store(t)
	leader := command(t, run(url, `echo ready; exec sleep 600`)...)
	leader.line("ready")
	p := command(t, run(url, `echo must not run`, "--once", "-v")...)
	time.Sleep(200 * time.Millisecond) // it only has to be up
	p.signal(syscall.SIGTERM)
	if s := p.status(); s != 128+15 {
		t.Errorf("status %d", s)
	}
	if l, ok := <-p.lines; ok {
		t.Errorf("%q", l)
	}
	leader.signal(syscall.SIGTERM)
	if s := leader.status(); s != 0 {
		t.Errorf("status %d", s)
	}
}

// The successor's command starts after the predecessor's has ended, also if that
// takes its time or does not listen; all of its process group ends.
func TestRunHandsOverAfterTheCommand(t *testing.T) {
	for name, c := range map[string]struct {
		body, grace string
		talks       bool // before it is told to end
	}{
		"takes its time":    {`trap 'sleep 0.3; date +"last %s%N"; exit' TERM; echo ready; while :; do sleep 0.01; done`, "20s", false},
		"does not listen":   {`trap '' TERM; echo ready; while :; do date +"last %s%N"; sleep 0.01; done`, "300ms", true},
		"leaves one behind": {`trap 'exit' TERM; (trap '' TERM; while :; do date +"last %s%N"; sleep 0.01; done) & echo ready; wait`, "20s", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := store(t)
			a := command(t, run(url, c.body, "--grace", c.grace)...)
			a.line("ready")
			b := command(t, run(url, `date +"first %s%N"; exec sleep 600`)...)
			last := ""
			if c.talks {
				last = a.line("last ")
			}
			a.signal(syscall.SIGTERM)
			if s := a.status(); s != 0 {
				t.Errorf("status %d", s)
			}
			first := b.line("first ")
			for l := range a.lines {
				if rest, ok := strings.CutPrefix(l, "last "); ok {
					last = rest
				}
			}
			if last == "" || len(last) != len(first) || last >= first {
				t.Errorf("the last of one at %q, the first of the next at %q", last, first)
			}
		})
	}
}

// A lost leadership kills the command, and it runs again with a greater token.
func TestRunAfterALoss(t *testing.T) {
	dir := t.TempDir()
	p := command(t, run("file://"+dir, `trap '' TERM; echo "token $MULTILOCK_TOKEN"; exec sleep 600`, "--ttl", "2s")...)
	before := p.line("token ")
	groups, err := filepath.Glob(filepath.Join(dir, "g-*"))
	if err != nil || len(groups) != 1 {
		t.Fatal(groups, err)
	}
	for try := 1; ; try++ { // the next term may begin, and write, while the last one is being removed
		err := os.RemoveAll(groups[0])
		if err == nil {
			break
		}
		if try == 100 {
			t.Fatal(err)
		}
	}
	after := p.line("token ")
	if len(after) != len(before) || after <= before {
		t.Errorf("token %s after %s", after, before)
	}
}

func TestStatusAndWatch(t *testing.T) {
	url := store(t)
	p := command(t, "status", "--backend", url, "g")
	p.line("")
	if s := p.status(); s != noLeader {
		t.Errorf("status %d without a leader", s)
	}
	watch := command(t, "watch", "--backend", url, "--json", "--interval", "50ms", "g")
	read := func(p *process) leaderJSON {
		t.Helper()
		var l leaderJSON
		if err := json.Unmarshal([]byte(p.line("")), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := read(watch); l.Group != "g" || l.Leader != "" || l.Error != "" {
		t.Errorf("nobody leads: %+v", l)
	}
	leader := command(t, run(url, `echo ready; exec sleep 600`, "--id", "first")...)
	leader.line("ready")
	seen := read(watch)
	if seen.Leader != "first" || seen.Token == 0 || seen.RemainingMS == nil || seen.AcquiredAt == nil {
		t.Errorf("a leader: %+v", seen)
	}
	p = command(t, "status", "--backend", url, "--json", "g", "g2")
	if l := read(p); l.Leader != "first" || l.Token != seen.Token {
		t.Errorf("status: %+v", l)
	}
	if l := read(p); l.Group != "g2" || l.Leader != "" {
		t.Errorf("status: %+v", l)
	}
	if s := p.status(); s != noLeader {
		t.Errorf("status %d with one group that nobody leads", s)
	}
	if s := command(t, "status", "--backend", url, "g").status(); s != 0 {
		t.Errorf("status %d with a leader", s)
	}
	leader.signal(syscall.SIGTERM)
	leader.status()
	if l := read(watch); l.Leader != "" {
		t.Errorf("after its end: %+v", l)
	}
	watch.signal(syscall.SIGINT)
	if s := watch.status(); s != 0 {
		t.Errorf("status %d of an interrupted watch", s)
	}
}

func TestBadInput(t *testing.T) {
	url := store(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		says   []string
	}{
		{"status --backend nope://x g", 1, []string{`unknown scheme "nope"`, "file://"}},
		{"status --backend nowhere g", 1, []string{"must be a URL"}},
		{"status --backend " + url + "?multilock.foo=1 g", 1, []string{`"multilock.foo"`, "multilock.extension"}},
		{"status --backend memory:// g", 1, []string{"memory://name"}},
		{"status --backend " + url + " a/b", 1, []string{"group", `"a/b"`, "1 to 255"}},
		{"status --backend " + url, 1, []string{"at least 1 arg"}},
		{"watch --backend " + url + " --interval 0s g", 1, []string{"--interval", "positive"}},
		{"run --backend " + url + " --group g --ttl 10ms -- true", 1, []string{"HeartbeatTimeout", "10ms", "100ms", "24h"}},
		{"run --backend " + url + " --group g --grace -1s -- true", 1, []string{"--grace", "negative"}},
		{"run --backend " + url + " --group a/b --id x/y -- true", 1, []string{"Options.Group", "Options.ParticipantID"}},
		{"run --backend file://" + plain + " --group g -- true", 1, []string{plain, "must be a directory"}},
		{"run --backend " + url + " --group g -- no-such-command", 127, []string{"no-such-command"}},
		{"run --backend " + url + " --group g -- " + plain, 126, []string{"permission denied"}},
		{"run --backend " + url + " -- true", 1, []string{"group"}},
		{"demo --backend nope://x", 1, []string{"unknown scheme"}},
		{"demo --backend file://" + plain, 1, []string{"must be a directory", "candidate-"}},
	} {
		p := command(t, strings.Fields(c.args)...)
		if s := p.status(); s != c.status {
			t.Errorf("%s: status %d, want %d", c.args, s, c.status)
		}
		for _, part := range c.says {
			if !strings.Contains(p.stderr.String(), part) {
				t.Errorf("%s: %q is not in\n%s", c.args, part, p.stderr.String())
			}
		}
	}
}

func TestDemo(t *testing.T) {
	t.Parallel()
	p := command(t, "demo", "--ttl", "2s")
	var out []string
	for l := range p.lines {
		out = append(out, l)
	}
	all := strings.Join(out, "\n")
	if s := p.status(); s != 0 {
		t.Fatalf("status %d\n%s\n%s", s, all, p.stderr.String())
	}
	for _, part := range []string{"stopped politely", "killed", "frozen", "finds itself deposed", "No two terms overlapped"} {
		if !strings.Contains(all, part) {
			t.Errorf("%q is not in\n%s", part, all)
		}
	}
	if strings.Contains(all, "\x1b") {
		t.Error("coloured though it is not a terminal")
	}
}

// What the demonstration would say if two terms overlapped.
func TestDemoTellsAnOverlap(t *testing.T) {
	var out bytes.Buffer
	begin := time.Now()
	d := &demo{out: &out, began: begin, terms: []*termSeen{
		{leader: "a", token: 1, from: begin, last: begin.Add(2 * time.Second)},
		{leader: "b", token: 2, from: begin.Add(time.Second), last: begin.Add(3 * time.Second)},
	}}
	if err := d.table(); !errors.Is(err, errOverlap) || !strings.Contains(out.String(), "OVERLAP") {
		t.Errorf("%v\n%s", err, out.String())
	}
	d.terms[1].from, d.terms[1].token = begin.Add(2500*time.Millisecond), 1
	if err := d.table(); err == nil || errors.Is(err, errOverlap) {
		t.Errorf("a token that did not increase: %v", err)
	}
}

func TestBackendsAndURLs(t *testing.T) {
	p := command(t, "backends")
	listed := map[string]bool{}
	for l := range p.lines {
		if name, _, ok := strings.Cut(l, " "); ok && name != "" {
			listed[name] = true
		}
	}
	for _, b := range backends {
		if !listed[b.name] {
			t.Errorf("%s is not listed", b.name)
		}
		if len(b.schemes) == 0 || !strings.HasPrefix(b.example, b.schemes[0]+"://") {
			t.Errorf("%s: example %s", b.name, b.example)
		}
	}
}
