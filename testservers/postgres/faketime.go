//go:build unix

package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
)

// faketime prepares the environment in which the server's wall clock is ours.
func (s *Server) faketime(tb proc.TB) []string {
	tb.Helper()
	lib := ""
	for _, pattern := range []string{"/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1"} {
		if found, _ := filepath.Glob(pattern); len(found) > 0 { // the pattern is right
			lib = found[0]
			break
		}
	}
	if lib == "" {
		tb.Fatalf("the test needs libfaketime, which is not installed: apt-get install faketime")
	}
	s.clock = filepath.Join(s.dir, "clock")
	write(tb, s.clock, "+0\n")
	return []string{
		"LD_PRELOAD=" + lib,
		"FAKETIME_TIMESTAMP_FILE=" + s.clock,
		"FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1",
		"FAKETIME_DONT_RESET=1",
	}
}

// StepClock makes the server's wall clock differ from the machine's by offset.
func (s *Server) StepClock(tb proc.TB, offset time.Duration) {
	tb.Helper()
	if s.clock == "" {
		tb.Fatalf("the server was started without Options.Faketime")
	}
	// Renamed over the old one, so that nobody reads half a file.
	next := s.clock + ".next"
	write(tb, next, fmt.Sprintf("%+f\n", offset.Seconds()))
	if err := os.Rename(next, s.clock); err != nil {
		tb.Fatalf("step the clock: %v", err)
	}
}
