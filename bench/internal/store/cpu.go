//go:build unix

package store

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc, which Linux fixes for programs.
const clockTick = 10 * time.Millisecond

// CPU is the time that the server's processes have computed; false if the store
// has no process of its own or the system does not tell.
func (s *Server) CPU() (time.Duration, bool) {
	if s.pid == nil {
		return 0, false
	}
	return treeCPU("/proc", s.pid())
}

// treeCPU adds up a process and its children, those that have ended too.
func treeCPU(proc string, pid int) (sum time.Duration, ok bool) {
	stats, err := filepath.Glob(proc + "/[0-9]*/stat")
	if err != nil || pid == 0 {
		return 0, false
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has just ended
		}
		own, parent, ticks, fine := parseStat(string(text))
		if fine && (own == pid || parent == pid) {
			ok = ok || own == pid
			sum += time.Duration(ticks) * clockTick
		}
	}
	return sum, ok
}

// parseStat reads a line of /proc/PID/stat. The name of the program, which may
// contain anything, is in parentheses. Children that have ended count too.
func parseStat(text string) (pid, parent int, ticks int64, ok bool) {
	head, _, found := strings.Cut(text, " (")
	end := strings.LastIndex(text, ") ")
	if !found || end < 0 {
		return 0, 0, 0, false
	}
	pid, err := strconv.Atoi(head)
	f := strings.Fields(text[end+2:])
	const ppid, utime, cstime = 1, 11, 14
	if err != nil || len(f) <= cstime {
		return 0, 0, 0, false
	}
	if parent, err = strconv.Atoi(f[ppid]); err != nil {
		return 0, 0, 0, false
	}
	for _, field := range f[utime : cstime+1] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, 0, 0, false
		}
		ticks += n
	}
	return pid, parent, ticks, true
}
