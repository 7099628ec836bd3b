//go:build unix

package proc

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is its own server: a listener, or the parent of one.
func TestMain(m *testing.M) {
	switch os.Getenv("PROC_TEST_ROLE") {
	case "server":
		l, err := net.Listen("tcp", os.Getenv("PROC_TEST_ADDR"))
		if err != nil {
			panic(err)
		}
		os.Stdout.WriteString("listening\n")
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	case "parent":
		s := &Scope{}
		Start(s, server(os.Getenv("PROC_TEST_ADDR")))
		select {}
	}
	os.Exit(m.Run())
}

func server(addr string) Command {
	return Command{
		Name:  "server",
		Path:  os.Args[0],
		Env:   []string{"PROC_TEST_ROLE=server", "PROC_TEST_ADDR=" + addr},
		Ready: Dials(addr),
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func accepts(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func TestLifeOfAServer(t *testing.T) {
	addr := Addr(FreePort(t))
	p := Start(t, server(addr))
	if !p.Alive() || !accepts(addr) {
		t.Fatal("Start returned before the server answered")
	}
	pid := p.PID()
	p.Stop()
	eventually(t, "frozen", func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return os.IsNotExist(err) || strings.Contains(string(b), ") T ")
	})
	p.Cont()
	p.Kill()
	if p.Alive() || accepts(addr) {
		t.Fatal("Kill returned before the server was gone")
	}
	p.Kill()
	p.Start()
	if p.PID() == pid || !accepts(addr) {
		t.Fatal("Start did not start another process")
	}
	p.Terminate()
	if accepts(addr) {
		t.Fatal("Terminate returned before the server was gone")
	}
	if n := strings.Count(p.LogTail(), "listening"); n != 2 {
		t.Fatalf("the log has %d starts, want 2:\n%s", n, p.LogTail())
	}
}

func TestServerDiesWithTheTestProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only Linux ends children with their parent")
	}
	addr := Addr(FreePort(t))
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "PROC_TEST_ROLE=parent", "PROC_TEST_ADDR="+addr)
	parent.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server answers", func() bool { return accepts(addr) })
	_ = parent.Process.Kill()
	_ = parent.Wait()
	eventually(t, "the server is gone", func() bool { return !accepts(addr) })
}

// fatal is a TB that records a failure instead of failing.
type fatal struct {
	TB
	message string
}

func (f *fatal) Fatalf(format string, args ...any) {
	f.message = format
	panic(f)
}

func failure(t *testing.T, f func(TB)) string {
	t.Helper()
	tb := &fatal{TB: t}
	func() {
		defer func() { _ = recover() }()
		f(tb)
	}()
	return tb.message
}

func TestFailuresAreLoud(t *testing.T) {
	if m := failure(t, func(tb TB) { Look(tb, "no-such-program-7f3a", "apt-get install it") }); !strings.Contains(m, "not installed") {
		t.Errorf("a missing program: %q", m)
	}
	m := failure(t, func(tb TB) {
		c := server("not an address")
		Start(tb, c)
	})
	if !strings.Contains(m, "ended before it was ready") {
		t.Errorf("a server that ends at once: %q", m)
	}
}
