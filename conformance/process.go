package conformance

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// child is a candidate in a process of its own, as its parent sees it.
type child struct {
	r     *run
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser

	mu    sync.Mutex
	lines []childLine
	ended chan struct{}
}

// spawn starts a candidate of group in a process of its own, and lets w watch
// what it believes.
func (w *witness) spawn(name, group string, ttl time.Duration) *child {
	r := w.r
	if !mainCalled.Load() {
		r.Fatalf("Harness.URL is set, so TestMain must call conformance.Main with the backend's OpenURL")
	}
	exe, err := os.Executable()
	if err != nil {
		r.Fatalf("%v", err)
	}
	spec, err := json.Marshal(childSpec{URL: r.h.URL, Group: group, Participant: name, TTL: ttl})
	if err != nil {
		r.Fatalf("%v", err)
	}
	c := &child{r: r, name: name, ended: make(chan struct{})}
	c.cmd = exec.Command(exe, "-test.run=^$")
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(spec))
	dieWithParent(c.cmd)
	var stderr strings.Builder
	c.cmd.Stderr = &stderr
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		r.Fatalf("%v", err)
	}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		r.Fatalf("%v", err)
	}
	if err := c.cmd.Start(); err != nil {
		r.Fatalf("start a child process: %v", err)
	}
	go func() {
		defer close(c.ended)
		w.read(c, stdout)
		_ = c.cmd.Wait()
		if stderr.Len() > 0 {
			r.Logf("child %s: %s", name, stderr.String())
		}
	}()
	r.Cleanup(func() {
		_ = c.signal(sigCont)
		_ = c.cmd.Process.Kill()
		<-c.ended
	})
	return c
}

// read takes what the child says until it ends.
func (w *witness) read(c *child, stdout io.Reader) {
	var b *belief
	in := bufio.NewScanner(stdout)
	for in.Scan() {
		var l childLine
		if json.Unmarshal(in.Bytes(), &l) != nil {
			continue // a log line of the store's client library
		}
		switch l.Kind {
		case "acquired":
			b = w.begin(c.name, l.Token)
		case "write":
			if w.write(l.Token) && b != nil {
				w.saw(b, time.Unix(0, l.At))
			} else {
				l.Kind = "refused"
			}
		case "over":
			if b != nil {
				w.end(b)
			}
		case "error":
			c.r.Errorf("child %s: %s", c.name, l.Text)
		}
		c.mu.Lock()
		c.lines = append(c.lines, l)
		c.mu.Unlock()
	}
	if b != nil {
		w.end(b)
	}
}

func (c *child) signal(s os.Signal) error { return c.cmd.Process.Signal(s) }

func (c *child) mustSignal(s os.Signal) {
	if err := c.signal(s); err != nil {
		c.r.Fatalf("signal %v to child %s: %v", s, c.name, err)
	}
}

func (c *child) say(command string) {
	if _, err := io.WriteString(c.stdin, command+"\n"); err != nil {
		c.r.Fatalf("child %s: %v", c.name, err)
	}
}

// heard returns what the child has said of one kind, after the first n lines.
func (c *child) heard(kind string, after int) (found []childLine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines[after:] {
		if l.Kind == kind {
			found = append(found, l)
		}
	}
	return found
}

func (c *child) said() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.lines)
}
