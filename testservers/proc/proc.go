//go:build unix

package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Command is how a server is started.
type Command struct {
	// Name is how messages call the server, e.g. "redis".
	Name string
	// Path is the program, see Look.
	Path string
	Args []string
	// Env is added to the environment of the test.
	Env []string
	// Dir is where it runs; a temporary directory if empty.
	Dir string
	// Ready reports that the server answers; it is asked until it returns nil.
	// Each question has a second. Nil means ready at once.
	Ready func(ctx context.Context) error
	// Patience is how long Ready may take; 60 s if zero.
	Patience time.Duration
	// StopSignal asks for an orderly end; SIGTERM if nil.
	StopSignal syscall.Signal
	// Credential is the user to run as, for servers that refuse to run as root.
	Credential *syscall.Credential
}

// Process is a running, stopped or dead server. Its methods are called from one
// goroutine at a time.
type Process struct {
	tb      TB
	command Command
	logPath string

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd was waited for
	state string        // how cmd ended
}

// Start starts a server, waits until it is ready, and kills it when the test
// ends; if the test failed, the end of the server's output goes to its log.
func Start(tb TB, c Command) *Process {
	tb.Helper()
	if c.Dir == "" {
		c.Dir = tb.TempDir()
	}
	if c.Patience == 0 {
		c.Patience = time.Minute
	}
	if c.StopSignal == 0 {
		c.StopSignal = syscall.SIGTERM
	}
	// Not in Dir: a server may insist on an empty data directory.
	p := &Process{tb: tb, command: c, logPath: filepath.Join(tb.TempDir(), c.Name+".out")}
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("end of the output of %s:\n%s", c.Name, p.LogTail())
		}
	})
	p.Start()
	return p
}

// Start starts the server again after Kill or Terminate, with the same
// command, and waits until it is ready.
func (p *Process) Start() {
	p.tb.Helper()
	p.start()
	p.WaitReady()
}

// StartWith is Start with other arguments, which stay.
func (p *Process) StartWith(args ...string) {
	p.tb.Helper()
	p.command.Args = args
	p.Start()
}

// Setenv changes what is added to the environment at the next start.
func (p *Process) Setenv(env ...string) { p.command.Env = env }

func (p *Process) start() {
	p.tb.Helper()
	if p.Alive() {
		p.tb.Fatalf("%s is started twice", p.command.Name)
	}
	out, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.tb.Fatalf("log of %s: %v", p.command.Name, err)
	}
	defer out.Close() // the child has its own descriptor
	cmd := exec.Command(p.command.Path, p.command.Args...)
	cmd.Dir = p.command.Dir
	cmd.Env = append(os.Environ(), p.command.Env...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = attr()
	cmd.SysProcAttr.Credential = p.command.Credential
	if err := cmd.Start(); err != nil {
		p.tb.Fatalf("start %s: %v", p.command.Name, err)
	}
	ended := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.ended = cmd, ended
	p.mu.Unlock()
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.state = "ended well"
		if err != nil {
			p.state = err.Error()
		}
		p.mu.Unlock()
		close(ended)
	}()
}

// WaitReady waits until the server answers, for instance after Cont.
func (p *Process) WaitReady() {
	p.tb.Helper()
	if p.command.Ready == nil {
		return
	}
	deadline := time.Now().Add(p.command.Patience)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := p.command.Ready(ctx)
		cancel()
		if err == nil && p.Alive() {
			return
		}
		if !p.Alive() {
			p.mu.Lock()
			state := p.state
			p.mu.Unlock()
			p.tb.Fatalf("%s ended before it was ready: %s\n%s", p.command.Name, state, p.LogTail())
		}
		if time.Now().After(deadline) {
			p.tb.Fatalf("%s is not ready after %v: %v\n%s", p.command.Name, p.command.Patience, err, p.LogTail())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Alive reports whether the process exists; a stopped one does.
func (p *Process) Alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// PID is the process's number, 0 if there is none.
func (p *Process) PID() int {
	if !p.Alive() {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Kill ends the process as kill -9 does, with its children, and waits until it
// is gone. Killing a dead one is no error.
func (p *Process) Kill() { p.end(syscall.SIGKILL, 0) }

// Terminate asks the server to end in good order, kills it after 10 s, and
// returns when it is gone.
func (p *Process) Terminate() { p.end(p.command.StopSignal, 10*time.Second) }

// Restart kills the server and starts it again.
func (p *Process) Restart() {
	p.tb.Helper()
	p.Kill()
	p.Start()
}

// Stop freezes the process as SIGSTOP does.
func (p *Process) Stop() { p.signal(syscall.SIGSTOP) }

// Cont lets a frozen process go on.
func (p *Process) Cont() { p.signal(syscall.SIGCONT) }

func (p *Process) end(sig syscall.Signal, patience time.Duration) {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if ended == nil {
		return
	}
	if sig != syscall.SIGKILL {
		p.signal(syscall.SIGCONT) // a frozen one would not hear
		p.signal(sig)
		select {
		case <-ended:
			return
		case <-time.After(patience):
		}
	}
	p.signal(syscall.SIGKILL)
	<-ended
}

// signal reaches the server and what it started itself.
func (p *Process) signal(sig syscall.Signal) {
	if pid := p.PID(); pid > 0 {
		_ = syscall.Kill(-pid, sig) // it may have ended by itself meanwhile
	}
}

// LogTail is the end of what the server has printed.
func (p *Process) LogTail() string {
	const most = 8 << 10
	b, err := os.ReadFile(p.logPath)
	if err != nil {
		return fmt.Sprintf("(no output: %v)", err)
	}
	if len(b) > most {
		b = b[len(b)-most:]
		if _, rest, ok := bytes.Cut(b, []byte("\n")); ok {
			b = rest
		}
	}
	return string(b)
}

// Dials is a Ready that is content when addr accepts a connection.
func Dials(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// Run runs a program to its end and returns its output; a failure fails the
// test.
func Run(tb TB, path string, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(err, ctx.Err())
		}
		tb.Fatalf("%s: %v\n%s", filepath.Base(path), err, out)
	}
	return string(out)
}
