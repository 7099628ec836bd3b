//go:build unix

// Package child runs parts of a measurement in processes of their own, which can
// be killed and whose memory is theirs alone. The program starts itself again;
// parent and child exchange lines of JSON.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/bench/internal/calls"
	"github.com/multilock/multilock-go/bench/internal/rival"
)

// Env is set in children.
const Env = "MULTILOCK_BENCH_CHILD"

// Task is what a child does.
type Task struct {
	Setting rival.Setting
	// Library takes part, with one client, in every group. If it is empty, MultiLock
	// does, each group in Elector.Run alone and without what rival puts around it,
	// so that memory and goroutines are MultiLock's own.
	Library string
	Groups  []string
	Name    string
	// Turns, if there are any, is all that the child does: so many of calls.Measure.
	Turns int `json:",omitempty"`
}

// event is what a child reports.
type event struct {
	// Group is led by the child since At, in Unix nanoseconds. The attempt began at
	// Began.
	Group string `json:",omitempty"`
	At    int64  `json:",omitempty"`
	Began int64  `json:",omitempty"`
	// Campaigns: the child, with its client, has begun to campaign in every group.
	Campaigns bool `json:",omitempty"`
	// Following: the child has heard of a leader of every group.
	Following bool           `json:",omitempty"`
	Stats     *Stats         `json:",omitempty"`
	Calls     []calls.Result `json:",omitempty"`
	Err       string         `json:",omitempty"`
}

// Stats are what a child costs.
type Stats struct {
	Goroutines int
	// Bytes of heap and stack in use after a collection, and BaseBytes and
	// BaseGoroutines before the first elector was made.
	Bytes, BaseBytes uint64
	BaseGoroutines   int
	// CPU time of the process when the question came, and when it was answered: the
	// answer itself costs a collection.
	Before, CPU time.Duration
	Asked, At   time.Time
	// Connections over TCP; -1 where the system does not tell.
	Connections int
}

// Process is a running child.
type Process struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser

	mu        sync.Mutex
	leads     map[string]time.Time
	began     map[string]time.Time
	calls     []calls.Result
	campaigns bool
	following bool
	err       error
	changed   chan struct{} // closed and replaced at each change
	stats     chan Stats
	ended     chan struct{}
}

// Start starts a child.
func Start(t Task) (*Process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), Env+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt reaches the parent first
	cmd.Stderr = os.Stderr
	p := &Process{
		cmd: cmd, leads: make(map[string]time.Time), began: make(map[string]time.Time), changed: make(chan struct{}),
		stats: make(chan Stats, 1), ended: make(chan struct{}),
	}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.read(out)
	if err := json.NewEncoder(p.stdin).Encode(t); err != nil {
		p.Kill()
		return nil, fmt.Errorf("child: %w", err)
	}
	return p, nil
}

func (p *Process) read(out io.Reader) {
	defer close(p.ended)
	for in := bufio.NewScanner(out); in.Scan(); {
		var e event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			e.Err = fmt.Sprintf("the child printed %q", in.Text())
		}
		if e.Stats != nil {
			p.stats <- *e.Stats
			continue
		}
		p.mu.Lock()
		if e.Group != "" {
			p.leads[e.Group] = time.Unix(0, e.At)
			p.began[e.Group] = time.Unix(0, e.Began)
		}
		if e.Calls != nil {
			p.calls = e.Calls
		}
		p.campaigns = p.campaigns || e.Campaigns
		p.following = p.following || e.Following
		if e.Err != "" {
			p.err = errors.New(e.Err)
		}
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // it is killed, so this says nothing
}

// Kill ends the child as kill -9 does, and says when the signal was sent.
func (p *Process) Kill() time.Time {
	at := time.Now()
	_ = p.cmd.Process.Kill()
	<-p.ended
	return at
}

// wait waits until ok, which is called with the lock held.
func (p *Process) wait(ctx context.Context, what string, ok func() bool) error {
	for {
		p.mu.Lock()
		done, err, changed := ok(), p.err, p.changed
		p.mu.Unlock()
		switch {
		case err != nil:
			return err
		case done:
			return nil
		}
		select {
		case <-changed:
		case <-p.ended:
			return fmt.Errorf("the child ended before %s", what)
		case <-ctx.Done():
			p.mu.Lock()
			defer p.mu.Unlock()
			return fmt.Errorf("%w before %s; it leads %d groups", context.Cause(ctx), what, len(p.leads))
		}
	}
}

// Leads waits until the child leads n groups, and tells since when which.
func (p *Process) Leads(ctx context.Context, n int) (map[string]time.Time, error) {
	err := p.wait(ctx, fmt.Sprintf("it led %d groups", n), func() bool { return len(p.leads) >= n })
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.leads), err
}

// Began tells when the attempts began by which a child with a library leads.
func (p *Process) Began() map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.began)
}

// Campaigns waits until a child with a library has connected its client and has
// begun to campaign in every group.
func (p *Process) Campaigns(ctx context.Context) error {
	return p.wait(ctx, "it campaigned", func() bool { return p.campaigns })
}

// Follows waits until the child has heard of a leader of every group, be it itself,
// and is promised all wake-ups that there are.
func (p *Process) Follows(ctx context.Context) error {
	return p.wait(ctx, "it followed every group", func() bool { return p.following })
}

// Calls waits for what a child with Turns has measured.
func (p *Process) Calls(ctx context.Context) ([]calls.Result, error) {
	err := p.wait(ctx, "it had measured", func() bool { return p.calls != nil })
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls, err
}

// Stats asks the child what it costs now.
func (p *Process) Stats(ctx context.Context) (Stats, error) {
	if _, err := io.WriteString(p.stdin, "stats\n"); err != nil {
		return Stats{}, err
	}
	select {
	case s := <-p.stats:
		return s, nil
	case <-p.ended:
		return Stats{}, errors.New("the child has ended")
	case <-ctx.Done():
		return Stats{}, context.Cause(ctx)
	}
}
