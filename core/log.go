package multilock

import (
	"errors"
	"log/slog"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// logStart tells what can be computed beforehand.
func (e *Elector) logStart() {
	e.log(slog.LevelInfo, "campaigning",
		slog.String("store", e.b.String()),
		slog.Duration("ttl", e.o.HeartbeatTimeout), slog.Duration("heartbeat", e.o.HeartbeatInterval),
		slog.Duration("margin", e.o.Margin), slog.Duration("worst_case_failover", e.WorstCaseFailover()))
}

// logAttempt tells of a failed attempt: the first of a row to people, the retries
// to those who look for details.
func (e *Elector) logAttempt(err error, first bool) {
	level := failedLevel(first)
	switch {
	case errors.Is(err, ErrMisconfigured):
		level = slog.LevelError
	case errors.Is(err, driver.ErrNotApplied): // somebody was in the way
		level = slog.LevelDebug
	}
	e.log(level, "attempt failed", slog.Any("error", err))
}

func failedLevel(first bool) slog.Level {
	if first {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (e *Elector) logTTL(rec Record) {
	e.log(slog.LevelWarn, "the leader has another time-to-live; the longest of a group decides how long a failover takes",
		slog.String("leader", rec.Participant), slog.Duration("ttl", rec.TTL))
}

func (e *Elector) logWork(l *live, err error) {
	e.log(slog.LevelWarn, "work returned an error after its term had ended", slog.Uint64("token", l.term.Token), slog.Any("error", err))
}

// renewed records the answer to a renewal.
func (e *Elector) renewed(l *live, start time.Time, left time.Duration, err error) {
	err = e.b.wrap("renew", e.o.Group, err)
	e.mu.Lock()
	first := e.lastErr == nil
	if e.current.Load() == l {
		e.lastErr = err
	}
	e.mu.Unlock()
	if err != nil {
		e.log(failedLevel(first), "renewal failed", slog.Uint64("token", l.term.Token), slog.Duration("left", left), slog.Any("error", err))
	}
	if start.IsZero() {
		start = time.Now()
	}
	e.observe(Observation{Op: "renew", Token: l.term.Token, Start: start, Duration: time.Since(start), Err: err, Left: left})
}
