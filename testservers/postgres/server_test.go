//go:build unix

package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
)

func TestServerAndBouncer(t *testing.T) {
	s := Start(t, Options{})
	b := StartBouncer(t, s, "transaction")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := handshake(ctx, b.Addr(), User, Database); err != nil {
		t.Fatalf("through PgBouncer: %v", err)
	}
	pid := s.PID()
	s.Restart()
	if err := handshake(ctx, s.Addr(), User, Database); err != nil || s.PID() == pid {
		t.Fatalf("after a restart: %v, pid %d and %d", err, pid, s.PID())
	}
	s.Crash()
	if err := handshake(ctx, s.Addr(), User, Database); err == nil {
		t.Fatal("a crashed server answers")
	}
}

func TestClockCanBeStepped(t *testing.T) {
	s := Start(t, Options{Faketime: true})
	now := func() time.Time {
		t.Helper()
		out := proc.Run(t, proc.Look(t, "psql", install), "-XAtq", "-c", "select extract(epoch from clock_timestamp())::bigint", s.URL(User, Password, Database))
		var sec int64
		for _, r := range out {
			if r >= '0' && r <= '9' {
				sec = sec*10 + int64(r-'0')
			}
		}
		return time.Unix(sec, 0)
	}
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour, 0} {
		s.StepClock(t, offset)
		if off := time.Until(now()) - offset; off < -time.Minute || off > time.Minute {
			t.Errorf("stepped by %v the clock is %v off", offset, off)
		}
	}
}
