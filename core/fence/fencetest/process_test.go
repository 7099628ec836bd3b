//go:build unix

package fencetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	multilock "github.com/multilock/multilock-go/core"
)

const (
	childEnv = "MULTILOCK_FENCETEST_CANDIDATE"
	patience = 2 * time.Minute
	ttl      = 2 * time.Second
)

// candidate is what a child process is told.
type candidate struct {
	Guard, URL, Resource string
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := campaign(text); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// campaign is a candidate. It says "leads", and for each line of its input writes
// that to the resource under its latest term, whether that is over or not.
func campaign(text string) error {
	var c candidate
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	g := guards[c.Guard]
	ctx := context.Background()
	b, err := g.open(ctx, c.URL)
	if err != nil {
		return err
	}
	e, err := multilock.New(b, multilock.Options{Group: "fenced", HeartbeatTimeout: ttl})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var last multilock.Term
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			mu.Lock()
			term := last
			mu.Unlock()
			ctx, cancel := context.WithTimeout(ctx, patience)
			err := g.write(ctx, e, c, term, in.Text())
			cancel()
			switch {
			case err == nil:
				fmt.Printf("wrote %s under %d\n", in.Text(), term.Token)
			case errors.Is(err, g.stale):
				fmt.Printf("refused %s under %d\n", in.Text(), term.Token)
			default:
				fmt.Println("failed:", err)
			}
		}
		os.Exit(0) // the test is over
	}()
	return e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		mu.Lock()
		last = term
		mu.Unlock()
		fmt.Println("leads under", term.Token)
		<-ctx.Done()
		return nil
	})
}

// child is a candidate as the test sees it.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer

	mu    sync.Mutex
	lines []string
	ended chan struct{}
}

func spawn(t *testing.T, c candidate) *child {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &child{t: t, cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // it is killed
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

func (p *child) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

func (p *child) say(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p.in, text+"\n"); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for a line that matches; another answer to a write fails the test.
func (p *child) expect(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		p.mu.Lock()
		lines := append([]string(nil), p.lines...)
		p.mu.Unlock()
		for _, line := range lines {
			if re.MatchString(line) {
				return line
			}
			if strings.HasPrefix(line, "failed:") {
				p.t.Fatal(line)
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t.Fatalf("no %q within %v; said %q", pattern, patience, p.lines)
	return ""
}

// oldLeader has a leader's process stopped by SIGSTOP until its successor has written;
// when it goes on it writes, and is refused. content, if any, tells what the resource
// holds.
func oldLeader(t *testing.T, c candidate, content func() string) {
	t.Helper()
	holds := func(want string) {
		t.Helper()
		if content == nil {
			return
		}
		if got := content(); got != want {
			t.Errorf("the resource holds %q, want %q", got, want)
		}
	}
	a := spawn(t, c)
	a.expect(`^leads under \d+$`)
	a.say("first")
	a.expect(`^wrote first under \d+$`)
	holds("first")
	b := spawn(t, c)
	a.signal(syscall.SIGSTOP)
	b.expect(`^leads under \d+$`)
	b.say("second")
	b.expect(`^wrote second under \d+$`)
	a.say("stale") // is read in the moment it goes on
	a.signal(syscall.SIGCONT)
	if line := a.expect(`^(refused|wrote) stale under \d+$`); strings.HasPrefix(line, "wrote") {
		t.Errorf("the old leader %s", line)
	}
	holds("second")
	b.say("third")
	b.expect(`^wrote third under \d+$`)
	holds("third")
}
