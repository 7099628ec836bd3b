package clientgolock

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	multilock "github.com/multilock/multilock-go/core"
)

// Defaults of Options, which are those of Kubernetes' components and of
// controller-runtime.
const (
	DefaultLeaseDuration = 15 * time.Second
	DefaultRenewDeadline = 10 * time.Second
	DefaultRetryPeriod   = 2 * time.Second
)

// Options configure a Lock.
type Options struct {
	// Group is the election; required. It takes the place of namespace and name.
	Group string
	// Identity names this process to people: 1 to 255 characters of A-Z a-z 0-9 _ . -
	// Default: host name and 8 random hex digits.
	Identity string
	// LeaseDuration, RenewDeadline and RetryPeriod must be those of the
	// LeaderElectionConfig, or what client-go believes is not covered by the lease.
	// LeaseDuration is the time-to-live at the store. It must exceed RenewDeadline +
	// RetryPeriod by the margin for clocks, by what the backend declares and by the
	// time of a request. Default 15 s, 10 s, 2 s.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	// ReleaseAfterWork says that the election is cancelled only after the work has
	// returned, as controller-runtime's manager does it, so that the release asked for
	// by ReleaseOnCancel is safe without Guard. It says so also of the release after
	// a failed renewal: the program must then exit at once in OnStoppedLeading.
	ReleaseAfterWork bool
	// Metadata is stored with the term for others to read.
	Metadata map[string]string
	// Logger receives the events that client-go records; nil means none.
	Logger *slog.Logger
}

// New returns a Lock. It does no I/O. The error joins an *multilock.InvalidError for
// every fault in o.
func New(b *multilock.Backend, o Options) (*Lock, error) {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&o.LeaseDuration, DefaultLeaseDuration}, {&o.RenewDeadline, DefaultRenewDeadline}, {&o.RetryPeriod, DefaultRetryPeriod}} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	// Never started: it checks the options against the backend, and reads who leads.
	e, err := multilock.New(b, multilock.Options{
		Group: o.Group, ParticipantID: o.Identity, HeartbeatTimeout: o.LeaseDuration, Metadata: o.Metadata,
	})
	var errs []error
	if o.RenewDeadline < 0 || o.RetryPeriod < 0 {
		errs = append(errs, &multilock.InvalidError{Field: "Options.RenewDeadline, RetryPeriod", Allowed: "must be positive"})
	}
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	resolved := e.Options()
	l := &Lock{
		b: b, e: e, o: o, identity: resolved.ParticipantID, metadata: resolved.Metadata,
		margin: resolved.Margin, need: o.RenewDeadline + o.RetryPeriod, idle: make(chan struct{}),
	}
	l.spare = o.LeaseDuration - b.Info().Shortening - l.margin - l.need
	if least := max(o.RetryPeriod/4, 20*time.Millisecond); l.spare < least {
		return nil, &multilock.InvalidError{
			Field: "Options.LeaseDuration", Value: o.LeaseDuration.String(),
			Allowed: fmt.Sprintf("must be at least %v for a RenewDeadline of %v and a RetryPeriod of %v on %s, so that client-go stops before the lease does",
				o.LeaseDuration+least-l.spare, o.RenewDeadline, o.RetryPeriod, b.Info().Name),
		}
	}
	if o.Logger == nil {
		l.o.Logger = slog.New(slog.DiscardHandler)
	}
	close(l.idle)
	return l, nil
}
