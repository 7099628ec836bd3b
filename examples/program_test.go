//go:build unix

// Package examples_test runs every example as a user would, over real servers.
package examples_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait: a crashed leader blocks Consul for 45 s by default.
const patience = 3 * time.Minute

var programs string // the directory of the built examples

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "multilock-examples-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if out, err := exec.Command("go", "build", "-o", dir+"/", "./...").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
		programs = dir
		return m.Run()
	}())
}

// program is a running example.
type program struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd

	mu    sync.Mutex
	lines []string
	ended chan struct{}
}

// start runs an example; its environment has env added.
func start(t *testing.T, env []string, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, cmd: exec.Command(filepath.Join(programs, name), args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	out, in := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = in, in
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var read sync.WaitGroup
	read.Go(func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.mu.Unlock()
		}
	})
	go func() {
		_ = p.cmd.Wait() // Terminate looks at the state
		_ = in.Close()
		read.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %v said:\n%s", name, args, strings.Join(p.said(), "\n"))
		}
	})
	return p
}

func (p *program) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.lines...)
}

// await waits for a line after the first n that matches, and returns its submatches
// and the number of lines up to and with it.
func (p *program) await(n int, pattern string) ([]string, int) {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	eventually(p.t, fmt.Sprintf("%s says %q", p.name, pattern), func() bool {
		lines := p.said()
		for i := n; i < len(lines); i++ {
			if found = re.FindStringSubmatch(lines[i]); found != nil {
				n = i + 1
				return true
			}
		}
		if p.over() {
			p.t.Fatalf("%s ended: %v", p.name, p.cmd.ProcessState)
		}
		return false
	})
	return found, n
}

func (p *program) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// never fails the test if the program has said something that matches.
func (p *program) never(pattern string) {
	p.t.Helper()
	for _, line := range p.said() {
		if regexp.MustCompile(pattern).MatchString(line) {
			p.t.Errorf("%s said %q", p.name, line)
		}
	}
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// terminate asks the program to stop, which it has to do in good order.
func (p *program) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s did not end within %v of SIGTERM", p.name, patience)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("%s ended after SIGTERM with %v", p.name, p.cmd.ProcessState)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
