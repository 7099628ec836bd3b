package multilock

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Defaults of Options; those not listed are computed from the others.
const (
	DefaultHeartbeatTimeout = 15 * time.Second
	DefaultElectionInterval = 10 * time.Second
	DefaultDrainTimeout     = 10 * time.Second
)

// Options configure an Elector. The zero value of every field but Group is
// usable; New copies what it keeps.
type Options struct {
	// Group is the election to take part in; required. All electors with one
	// group on one store elect one leader. 1 to 255 characters of A-Z a-z 0-9 _ . -
	Group string
	// ParticipantID names this elector to people; it proves nothing and need not
	// be unique. Default: host name and 8 random hex digits.
	ParticipantID string

	// HeartbeatTimeout is the time-to-live (TTL) of a term at the store: how long
	// a dead leader blocks its successor. Default 15 s, moved into the backend's
	// range where that is narrower.
	HeartbeatTimeout time.Duration
	// HeartbeatInterval is the time between renewals. At least 2.5 of them must
	// fit into the time a term is believed, HeartbeatTimeout less Margin (and less
	// what the backend declares). Default: a third of that time.
	HeartbeatInterval time.Duration
	// ElectionInterval is how often a follower tries when nothing better is known:
	// the store neither pushes nor tells the remaining time, or the push is down.
	// Default 10 s, at most a year.
	ElectionInterval time.Duration
	// LockTimeout limits one attempt to acquire, and one reading of the leader. An
	// attempt never waits for the holder. Default: HeartbeatInterval.
	LockTimeout time.Duration
	// Margin is how long before its expiry at the store a term stops being
	// believed. It pays for clocks that run at different rates. Default and least:
	// max(10 ms, TTL/100, min(TTL/10, 1 s)); 20 ms instead of 10 on Windows.
	Margin time.Duration
	// Spread is the random delay, at most, that keeps followers from trying in the
	// same instant after an expiry. Default min(TTL/50, 100 ms).
	Spread time.Duration
	// DrainTimeout is how long a planned stop keeps the term alive while the work
	// returns. After it the lease is left to expire. Default 10 s, at most a year.
	DrainTimeout time.Duration
	// DrainDelay is, for Start only, the pause between the Lost event and the
	// resignation, for subscribers to act on it. Less than DrainTimeout; default 0.
	DrainDelay time.Duration

	// Metadata is stored with the term for others to read: at most 100 entries,
	// keys of 1 to 255 bytes, values of at most 4000 bytes, UTF-8 without NUL.
	Metadata map[string]string
	// ManualStart asks frameworks (fxmodule) not to start the elector by
	// themselves. New never starts it.
	ManualStart bool
	// Logger receives transitions and errors; nil means none. It is called from a
	// goroutine of its own and cannot delay a renewal.
	Logger *slog.Logger
	// Observer receives every operation and transition, for metrics and traces;
	// nil means none. It is called like Logger.
	Observer Observer
}

// maxWait bounds what is added to a clock. It stands for "for ever".
const maxWait = 365 * 24 * time.Hour

// minMargin is the least margin for a time-to-live.
func minMargin(ttl time.Duration) time.Duration {
	floor := 10 * time.Millisecond
	if runtime.GOOS == "windows" { // the clock's tick can be 15.6 ms
		floor = 20 * time.Millisecond
	}
	return max(floor, ttl/100, min(ttl/10, time.Second))
}

// span is how long a confirmed renewal lets a term be believed.
func (o *Options) span(info driver.Info) time.Duration {
	return o.HeartbeatTimeout - info.Shortening - o.Margin
}

// resolve fills the defaults and reports every fault at once.
func (o Options) resolve(info driver.Info) (Options, error) {
	var errs []error
	bad := func(field, value, format string, args ...any) {
		errs = append(errs, &InvalidError{Field: "Options." + field, Value: value, Allowed: fmt.Sprintf(format, args...)})
	}
	if o.Group == "" {
		bad("Group", "", "required; %s", allowedName)
	} else if err := checkName("Options.Group", o.Group); err != nil {
		errs = append(errs, err)
	}
	if o.ParticipantID == "" {
		o.ParticipantID = defaultParticipant()
	} else if err := checkName("Options.ParticipantID", o.ParticipantID); err != nil {
		errs = append(errs, err)
	}
	if err := checkMetadata("Options.Metadata", o.Metadata); err != nil {
		errs = append(errs, err)
	}
	o.Metadata = maps.Clone(o.Metadata)

	for _, d := range []struct {
		name    string
		v, most time.Duration
	}{
		{"HeartbeatTimeout", o.HeartbeatTimeout, math.MaxInt64}, // the backend has its own limit
		{"HeartbeatInterval", o.HeartbeatInterval, MaxTTL}, {"Margin", o.Margin, MaxTTL},
		{"LockTimeout", o.LockTimeout, MaxTTL}, {"Spread", o.Spread, MaxTTL},
		{"ElectionInterval", o.ElectionInterval, maxWait},
		{"DrainTimeout", o.DrainTimeout, maxWait}, {"DrainDelay", o.DrainDelay, maxWait},
	} {
		if d.v < 0 {
			bad(d.name, d.v.String(), "must not be negative")
		} else if d.v > d.most {
			bad(d.name, d.v.String(), "must be at most %v", d.most)
		}
	}
	if len(errs) > 0 { // what follows would only report consequences
		if o.HeartbeatTimeout > 0 {
			o.checkTTL(info, bad)
		}
		return o, errors.Join(errs...)
	}

	if o.HeartbeatTimeout == 0 {
		o.HeartbeatTimeout = max(DefaultHeartbeatTimeout, info.MinTTL)
		if info.MaxTTL > 0 {
			o.HeartbeatTimeout = min(o.HeartbeatTimeout, info.MaxTTL)
		}
	}
	o.checkTTL(info, bad)
	if least := minMargin(o.HeartbeatTimeout); o.Margin == 0 {
		o.Margin = least
	} else if o.Margin < least {
		bad("Margin", o.Margin.String(), "must be at least %v with a HeartbeatTimeout of %v", least, o.HeartbeatTimeout)
	}
	span := o.span(info)
	if o.HeartbeatInterval == 0 {
		o.HeartbeatInterval = span / 3
	}
	if span <= 0 || o.HeartbeatInterval <= 0 {
		bad("HeartbeatTimeout", o.HeartbeatTimeout.String(), "leaves no time to believe a term after a Margin of %v and the %v that backend %s needs", o.Margin, info.Shortening, info.Name)
	} else if 2*span < 5*o.HeartbeatInterval {
		bad("HeartbeatInterval", o.HeartbeatInterval.String(), "must fit at least 2.5 times into the %v a term is believed (HeartbeatTimeout %v less Margin %v and backend %v)", span, o.HeartbeatTimeout, o.Margin, info.Shortening)
	}
	if o.ElectionInterval == 0 {
		o.ElectionInterval = DefaultElectionInterval
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = o.HeartbeatInterval
	}
	if o.Spread == 0 {
		o.Spread = min(o.HeartbeatTimeout/50, 100*time.Millisecond)
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = DefaultDrainTimeout
	}
	if o.DrainDelay >= o.DrainTimeout {
		bad("DrainDelay", o.DrainDelay.String(), "must be less than the DrainTimeout of %v", o.DrainTimeout)
	}
	return o, errors.Join(errs...)
}

func (o *Options) checkTTL(info driver.Info, bad func(field, value, format string, args ...any)) {
	ttl, most := o.HeartbeatTimeout, info.MaxTTL
	if most == 0 {
		most = MaxTTL
	}
	if ttl < info.MinTTL || ttl > most {
		bad("HeartbeatTimeout", ttl.String(), "must be between %v and %v on backend %s", info.MinTTL, most, info.Name)
	} else if g := info.TTLGranularity; g > 0 && ttl%g != 0 {
		bad("HeartbeatTimeout", ttl.String(), "must be a multiple of %v on backend %s", g, info.Name)
	}
}

// defaultParticipant is the host name, cut down to what names may hold, and
// random digits that tell processes of one host apart.
func defaultParticipant() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	host = strings.Map(func(r rune) rune {
		if r < 128 && validName("x"+string(r)) {
			return r
		}
		return '-'
	}, host)
	if len(host) > 200 {
		host = host[:200]
	}
	return fmt.Sprintf("%s-%08x", host, rand.Uint32())
}
