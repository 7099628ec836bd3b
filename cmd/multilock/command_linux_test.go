package main

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// A command does not outlive a multilock that was killed.
func TestRunThatIsKilled(t *testing.T) {
	p := command(t, run(store(t), `echo "pid $$"; exec sleep 600`)...)
	pid, err := strconv.Atoi(p.line("pid "))
	if err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGKILL)
	for end := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if state(pid) == 'Z' {
			return // dead, and nobody here adopts orphans
		}
		if time.Now().After(end) {
			t.Fatalf("the command lives %v after multilock was killed", patience)
		}
	}
}

// state is the letter that the kernel gives a process, 0 if there is none.
func state(pid int) byte {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return rest[0]
}
