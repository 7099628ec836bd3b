package proc

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// TB is what this package needs of a test. A *testing.T is one, and so is what
// the conformance kit hands to harnesses.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(f func())
	TempDir() string
}

// Scope is a TB for servers that several tests share: make one in TestMain and
// Close it there. A failure panics, which ends the test binary.
type Scope struct {
	mu       sync.Mutex
	cleanups []func()
}

// Helper does nothing.
func (*Scope) Helper() {}

// Logf writes to standard error.
func (*Scope) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Fatalf closes the scope and panics.
func (s *Scope) Fatalf(format string, args ...any) {
	s.Close()
	panic(fmt.Sprintf(format, args...))
}

// Failed is always false: no test owns the scope.
func (*Scope) Failed() bool { return false }

// Cleanup calls f when the scope is closed, the latest first.
func (s *Scope) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// TempDir makes a directory that is removed when the scope is closed.
func (s *Scope) TempDir() string {
	dir, err := os.MkdirTemp("", "multilock-test-")
	if err != nil {
		panic(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Close runs what Cleanup was given.
func (s *Scope) Close() {
	for {
		s.mu.Lock()
		n := len(s.cleanups)
		if n == 0 {
			s.mu.Unlock()
			return
		}
		f := s.cleanups[n-1]
		s.cleanups = s.cleanups[:n-1]
		s.mu.Unlock()
		f()
	}
}

// Look finds the program name, in PATH or at one of the other paths. A missing
// program fails the test and says how to install it: a test that silently
// skips itself would show nothing.
func Look(tb TB, name, install string, others ...string) string {
	tb.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, path := range others {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	tb.Fatalf("the test needs %s, which is not installed: %s", name, install)
	return ""
}
