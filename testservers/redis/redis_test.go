//go:build unix

package redis

import (
	"strconv"
	"testing"
	"time"
)

func seconds(t *testing.T, s *Server) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s.Do("TIME")[:10], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStandalone(t *testing.T) {
	t.Parallel()
	lossy, kept := Start(t, Options{}), Start(t, Options{Persist: true})
	for _, s := range []*Server{lossy, kept} {
		s.Do("SET", "a", "b c")
		s.Restart()
	}
	if got := lossy.Do("GET", "a"); got != "" {
		t.Errorf("without persistence a restart kept %q", got)
	}
	if got := kept.Do("GET", "a"); got != "b c" {
		t.Errorf("with persistence a restart kept %q", got)
	}
	if n := kept.Calls("get", "set"); n != 1 {
		t.Errorf("%d calls counted, want 1", n)
	}
}

func TestClockSteps(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Faketime: true})
	before := seconds(t, s)
	s.StepClock(time.Hour)
	if d := seconds(t, s) - before; d < 3600 || d > 3660 {
		t.Errorf("the clock moved by %d s after a step of an hour", d)
	}
	s.StepClock(-2 * time.Hour)
	if d := seconds(t, s) - before; d < -3600 || d > -3540 {
		t.Errorf("the clock moved by %d s after a step back", d)
	}
}

func TestClockStandsStill(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{Faketime: true})
	s.FreezeClock()
	a := s.Do("TIME")
	time.Sleep(20 * time.Millisecond)
	if b := s.Do("TIME"); a != b {
		t.Errorf("a frozen clock moved from %q to %q", a, b)
	}
	s.AdvanceClock(time.Second)
	if b := s.Do("TIME"); seconds(t, s) == 0 || b[10:] != a[10:] {
		t.Errorf("a step of a second moved the clock from %q to %q", a, b)
	}
	s.RunClock()
	if d := seconds(t, s) - time.Now().Unix(); d < -10 || d > 10 {
		t.Errorf("a running clock is off by %d s", d)
	}
}

func TestClusterAndMovedSlot(t *testing.T) {
	t.Parallel()
	c := StartCluster(t, 3, Options{})
	owner := c.Owner("k")
	owner.Do("SET", "k", "v")
	other := c.Servers[0]
	if other == owner {
		other = c.Servers[1]
	}
	c.MoveSlot("k", other)
	if c.Owner("k") != other || other.Do("GET", "k") != "v" {
		t.Error("the slot has not moved with its key")
	}
}

func TestSentinelsPromoteTheReplica(t *testing.T) {
	t.Parallel()
	r := StartReplicated(t, Options{})
	r.Master.Do("SET", "a", "b")
	r.Master.Do("WAIT", "1", "5000")
	r.Master.Kill()
	r.WaitPromoted()
	if r.Replica.Do("GET", "a") != "b" {
		t.Error("the promoted replica lost the write")
	}
}
