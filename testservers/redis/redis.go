//go:build unix

// Package redis starts Redis servers for tests: one, a cluster of masters, or a
// master with a replica and sentinels.
package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
)

const install = "sudo apt-get install --yes redis-server (and faketime for tests that step the clock)"

// Options is how a server is started.
type Options struct {
	// Persist hands every command to the system before it is answered (appendonly),
	// so that a kill loses none. Without it a restart loses everything.
	Persist bool
	// Faketime lets StepClock step the server's wall clock.
	Faketime bool
	// Args are further settings, such as "--maxmemory", "3mb".
	Args []string
}

// Server is one Redis server.
type Server struct {
	*proc.Process
	// Addr is host:port.
	Addr string
	// Dir is its data directory.
	Dir string

	tb    proc.TB
	clock string // file with the offset of the clock
	step  time.Duration
	still time.Time // what a clock that stands still shows; zero if it runs
}

// Start starts a server and waits until it answers.
func Start(tb proc.TB, o Options) *Server {
	tb.Helper()
	return start(tb, o, false)
}

func start(tb proc.TB, o Options, sentinel bool) *Server {
	tb.Helper()
	path := proc.Look(tb, "redis-server", install)
	port := proc.FreePort(tb)
	s := &Server{Addr: proc.Addr(port), Dir: tb.TempDir(), tb: tb}
	args := []string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--daemonize", "no",
		"--repl-diskless-sync-delay", "0", "--repl-diskless-load", "swapdb",
	}
	if o.Persist {
		args = append(args, "--appendonly", "yes", "--appendfsync", "everysec")
	}
	c := proc.Command{Name: "redis-" + strconv.Itoa(port), Path: path, Args: append(args, o.Args...), Dir: s.Dir, Ready: s.answers}
	if sentinel {
		conf := filepath.Join(s.Dir, "sentinel.conf")
		text := fmt.Sprintf("port %d\nbind 127.0.0.1\ndir %s\n%s\n", port, s.Dir, strings.Join(o.Args, "\n"))
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			tb.Fatalf("sentinel: %v", err)
		}
		c.Name, c.Args = "sentinel-"+strconv.Itoa(port), []string{conf, "--sentinel"}
	}
	if o.Faketime {
		s.clock = filepath.Join(s.Dir, "clock")
		s.writeClock()
		c.Env = append(c.Env, "LD_PRELOAD="+preload(tb), "FAKETIME_FMT=%s", "FAKETIME_TIMESTAMP_FILE="+s.clock,
			"FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1")
	}
	s.Process = proc.Start(tb, c)
	return s
}

// preload names the library that shifts the clock and, behind it, the C library:
// its allocator then serves the server in place of jemalloc, which looks at the
// clock while it is being set up and so would hang in the other's set-up.
func preload(tb proc.TB) string {
	tb.Helper()
	found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if len(found) == 0 {
		tb.Fatalf("the test needs libfaketime, which is not installed: sudo apt-get install --yes faketime")
	}
	libc := filepath.Join(filepath.Dir(filepath.Dir(found[0])), "libc.so.6")
	if _, err := os.Stat(libc); err != nil {
		tb.Fatalf("the test needs the C library beside libfaketime: %v", err)
	}
	return found[0] + " " + libc
}

// URL is how clients name database 0 of the server.
func (s *Server) URL() string { return "redis://" + s.Addr + "/0" }

// StepClock steps the server's wall clock by d, on top of earlier steps.
func (s *Server) StepClock(d time.Duration) {
	s.tb.Helper()
	if s.clock == "" {
		s.tb.Fatalf("the server was started without Faketime")
	}
	s.step += d
	s.writeClock()
}

// FreezeClock stops the server's wall clock, to a microsecond; from then on only
// AdvanceClock moves it, until RunClock.
func (s *Server) FreezeClock() {
	s.tb.Helper()
	if s.clock == "" {
		s.tb.Fatalf("the server was started without Faketime")
	}
	s.still = time.Now().Add(s.step).Truncate(time.Microsecond)
	s.writeClock()
}

// AdvanceClock moves a frozen clock.
func (s *Server) AdvanceClock(d time.Duration) {
	s.tb.Helper()
	s.still = s.still.Add(d)
	s.writeClock()
}

// RunClock lets a frozen clock run again, on time.
func (s *Server) RunClock() {
	s.tb.Helper()
	s.step, s.still = 0, time.Time{}
	s.writeClock()
}

func (s *Server) writeClock() {
	text := fmt.Sprintf("%+.6f", s.step.Seconds())
	if !s.still.IsZero() { // half a microsecond more, against rounding
		text = fmt.Sprintf("%d.%06d5", s.still.Unix(), s.still.Nanosecond()/1000)
	}
	// In one rename: the server reads the file at every look at the clock.
	tmp := s.clock + ".new"
	err := os.WriteFile(tmp, []byte(text+"\n"), 0o600)
	if err == nil {
		err = os.Rename(tmp, s.clock)
	}
	if err != nil {
		s.tb.Fatalf("clock: %v", err)
	}
}

// Do sends one command and returns the reply as text, one line per element. An
// error reply fails the test.
func (s *Server) Do(args ...string) string {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := Do(ctx, s.Addr, args...)
	if err != nil {
		s.tb.Fatalf("redis at %s: %s: %v", s.Addr, strings.Join(args, " "), err)
	}
	return out
}

// WaitServing waits until the server serves every key: a node of a cluster does so
// only some time after it answers.
func (s *Server) WaitServing() {
	s.tb.Helper()
	if s.Info("cluster", "cluster_enabled") == "1" {
		s.eventually("the cluster serves", func() bool { return s.info("CLUSTER", "INFO", "cluster_state") == "ok" })
	}
}

// Context is good for one command and ends by itself.
func (s *Server) Context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	s.tb.Cleanup(cancel)
	return ctx
}

// Info is the value of a field of INFO.
func (s *Server) Info(section, field string) string {
	s.tb.Helper()
	for line := range strings.Lines(s.Do("INFO", section)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return v
		}
	}
	return ""
}

// Calls is how many commands of these names clients have sent since the server
// started; those that scripts call count too.
func (s *Server) Calls(names ...string) int64 {
	s.tb.Helper()
	sum := int64(0)
	for _, name := range names {
		for part := range strings.SplitSeq(s.Info("commandstats", "cmdstat_"+name), ",") {
			if v, ok := strings.CutPrefix(part, "calls="); ok {
				n, err := strconv.ParseInt(v, 10, 64)
				if err != nil {
					s.tb.Fatalf("commandstats: %v", err)
				}
				sum += n
			}
		}
	}
	return sum
}

// answers is the server's Ready: it serves, and does not load its data.
func (s *Server) answers(ctx context.Context) error {
	out, err := Do(ctx, s.Addr, "PING")
	if err != nil && strings.HasPrefix(err.Error(), "NOAUTH") {
		return nil
	}
	if err == nil && out != "PONG" {
		err = errors.New(out)
	}
	return err
}

// Do sends one command to any server and returns the reply as text.
func Do(ctx context.Context, addr string, args ...string) (string, error) {
	return DoAuth(ctx, addr, "", args...)
}

// DoAuth is Do with the password of the default user.
func DoAuth(ctx context.Context, addr, password string, args ...string) (string, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	r := bufio.NewReader(c)
	if password != "" {
		if _, err := send(c, r, "AUTH", password); err != nil {
			return "", err
		}
	}
	return send(c, r, args...)
}

func send(c net.Conn, r *bufio.Reader, args ...string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := c.Write([]byte(b.String())); err != nil {
		return "", err
	}
	return readReply(r)
}

func readReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("empty reply")
	}
	rest := line[1:]
	switch line[0] {
	case '+', ':':
		return rest, nil
	case '-':
		return "", errors.New(rest)
	}
	n, err := strconv.Atoi(rest)
	if err != nil || n < 0 {
		return "", err
	}
	if line[0] == '*' {
		var parts []string
		for range n {
			p, err := readReply(r)
			if err != nil {
				return "", err
			}
			parts = append(parts, p)
		}
		return strings.Join(parts, "\n"), nil
	}
	buf := make([]byte, n+2)
	for at := 0; at < len(buf); {
		k, err := r.Read(buf[at:])
		if err != nil {
			return "", err
		}
		at += k
	}
	return string(buf[:n]), nil
}
