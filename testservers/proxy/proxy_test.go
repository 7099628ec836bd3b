package proxy

import (
	"bufio"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// echo is a server that answers each line with itself and counts lines and
// connections that ended.
type echo struct {
	addr         string
	lines, ended atomic.Int64
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	e := &echo{addr: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				defer e.ended.Add(1)
				r := bufio.NewReader(c)
				for {
					s, err := r.ReadString('\n')
					if err != nil {
						return
					}
					e.lines.Add(1)
					if _, err := c.Write([]byte(s)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return e
}

type client struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, p *Proxy) *client {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{t, c, bufio.NewReader(c)}
}

// ask sends a line and returns the answer, or what went wrong within d.
func (c *client) ask(line string, d time.Duration) error {
	c.t.Helper()
	_ = c.SetDeadline(time.Now().Add(d))
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		return err
	}
	s, err := c.r.ReadString('\n')
	if err == nil && s != line+"\n" {
		c.t.Fatalf("answer %q to %q", s, line)
	}
	return err
}

func (c *client) works() {
	c.t.Helper()
	if err := c.ask("hello", 10*time.Second); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) silent() {
	c.t.Helper()
	if err := c.ask("lost", 100*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("err = %v, want silence", err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestForwardsAndLists(t *testing.T) {
	e := newEcho(t)
	p := Start(t, e.addr)
	a, b := dial(t, p), dial(t, p)
	a.works()
	b.works()
	open := p.Open()
	if len(open) != 2 || p.Accepted() != 2 || open[0].ToStore != 6 || open[0].Client != a.LocalAddr().String() {
		t.Fatalf("open = %+v, accepted = %d", open, p.Accepted())
	}
	_ = a.Close()
	eventually(t, "the closed connection leaves the list", func() bool { return len(p.Open()) == 1 })
	eventually(t, "the server sees the end", func() bool { return e.ended.Load() == 1 })
}

func TestCutRefusesUntilRestored(t *testing.T) {
	p := Start(t, newEcho(t).addr)
	a := dial(t, p)
	a.works()
	p.Cut()
	if err := a.ask("x", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("err = %v on a cut connection, want an end", err)
	}
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		_ = c.Close()
		t.Fatal("a new connection was accepted")
	}
	p.Restore()
	dial(t, p).works()
}

func TestBlackholePerDirection(t *testing.T) {
	e := newEcho(t)
	p := Start(t, e.addr)
	a := dial(t, p)
	a.works()

	p.Blackhole(ToStore)
	a.silent()
	b := dial(t, p) // accepted all the same
	b.silent()
	if n := e.lines.Load(); n != 1 {
		t.Fatalf("the server saw %d lines, want 1", n)
	}
	_ = b.Close()
	time.Sleep(50 * time.Millisecond)
	if e.ended.Load() != 0 {
		t.Fatal("the server learnt of an end through a blackhole")
	}
	p.Restore()
	if err := a.ask("x", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("err = %v on a connection that lost bytes, want an end", err)
	}

	c := dial(t, p)
	c.works()
	p.Blackhole(ToClient)
	before := e.lines.Load()
	c.silent()
	eventually(t, "the request arrives although its answer is lost", func() bool { return e.lines.Load() == before+1 })
	p.Restore()
	dial(t, p).works()
}

func TestHoldDeliversLater(t *testing.T) {
	e := newEcho(t)
	p := Start(t, e.addr)
	a := dial(t, p)
	a.works()
	p.Hold(ToStore)
	if _, err := a.Write([]byte("late\n")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if e.lines.Load() != 1 {
		t.Fatal("a held line was delivered")
	}
	p.Restore()
	eventually(t, "the held line arrives", func() bool { return e.lines.Load() == 2 })
}

func TestStallSilencesOneConnection(t *testing.T) {
	p := Start(t, newEcho(t).addr)
	a, b := dial(t, p), dial(t, p)
	a.works()
	b.works()
	if !p.Stall(0) || p.Stall(2) {
		t.Fatal("Stall counts wrong")
	}
	a.silent()
	b.works()
	p.Restore()
	eventually(t, "the stalled connection is gone", func() bool { return len(p.Open()) == 1 })
	b.works()
}

func TestLatencyDelaysButDoesNotQueue(t *testing.T) {
	p := Start(t, newEcho(t).addr)
	a := dial(t, p)
	a.works()
	const delay = 200 * time.Millisecond
	p.Latency(delay)
	began := time.Now()
	_ = a.SetDeadline(began.Add(20 * time.Second))
	for range 20 {
		if _, err := a.Write([]byte("x\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	got, err := "", error(nil)
	for range 20 {
		var s string
		if s, err = a.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		got += s
	}
	if d := time.Since(began); d < 2*delay || d > 10*delay {
		t.Fatalf("20 lines took %v at %v each way", d, delay)
	}
	if got != strings.Repeat("x\n", 20) {
		t.Fatalf("got %q", got)
	}
}

func TestResetEndsAllAndAcceptsNew(t *testing.T) {
	e := newEcho(t)
	p := Start(t, e.addr)
	a := dial(t, p)
	a.works()
	p.Reset()
	if err := a.ask("x", 10*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("err = %v, want an end", err)
	}
	dial(t, p).works()
	eventually(t, "the server sees the end too", func() bool { return e.ended.Load() == 1 })
}
