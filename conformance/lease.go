package conformance

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// lease is a term won by a rule and what is known about how long it lasts.
type lease struct {
	driver.Term
	c     *client
	grant driver.Grant

	mu    sync.Mutex
	good  time.Time // nobody else may be granted the lease before this
	reply time.Time // when the newest success was answered
}

// renewTTL renews once and notes how long the lease is good for.
func (l *lease) renewTTL(ttl time.Duration, metadata map[string]string) error {
	t0 := time.Now()
	res := l.c.renewAll(driver.RenewRequest{Term: l.Term, TTL: ttl, Metadata: metadata})[0]
	if res.Err == nil {
		l.extended(t0, res.Granted)
	}
	return res.Err
}

func (l *lease) renew() error { return l.renewTTL(l.c.r.h.TTL, nil) }

func (l *lease) extended(t0 time.Time, granted time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reply = time.Now()
	if until := t0.Add(granted); until.After(l.good) {
		l.good = until
	}
}

func (l *lease) goodUntil() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good
}

// mustRenew renews, with patience for uncertain answers.
func (l *lease) mustRenew() {
	if err := l.settled(nil); err != nil {
		l.c.r.Fatalf("Renew of the live term %v: %v", l.Term, err)
	}
}

// settled renews until the answer is certain: nil or ErrLost.
func (l *lease) settled(metadata map[string]string) error {
	end := time.Now().Add(callLimit)
	for {
		err := l.renewTTL(l.c.r.h.TTL, metadata)
		if err == nil || errors.Is(err, driver.ErrLost) || time.Now().After(end) || l.c.r.ctx.Err() != nil {
			return err
		}
		l.c.r.pause(20 * time.Millisecond)
	}
}

// mustBeLost renews a term that is over. Nothing but ErrLost is right.
func (l *lease) mustBeLost(why string) {
	if err := l.settled(nil); !errors.Is(err, driver.ErrLost) {
		l.c.r.Fatalf("Renew of a term that is over (%s): want ErrLost, got %v", why, err)
	}
}

func (l *lease) mustResign() {
	if err := l.c.resign(l.Term); err != nil {
		l.c.r.Fatalf("Resign of the live term %v: %v", l.Term, err)
	}
}

// mustLead checks that the lease is what the store calls the live term.
func (l *lease) mustLead(when string) {
	rec := l.c.leader(l.Group)
	if rec == nil {
		l.c.r.Fatalf("%s: nobody leads %s, want %v", when, l.Group, l.Term)
		return
	}
	if diff := l.differs(*rec); diff != "" {
		l.c.r.Fatalf("%s: Leader of %s differs from the term %v: %s", when, l.Group, l.Term, diff)
	}
}

func (l *lease) differs(rec driver.Record) string {
	switch {
	case rec.Group != l.Group:
		return fmt.Sprintf("group %q", rec.Group)
	case rec.Participant != l.Participant:
		return fmt.Sprintf("participant %q", rec.Participant)
	case rec.Token != l.Token:
		return fmt.Sprintf("token %d", rec.Token)
	case !rec.Nonce.IsZero() && rec.Nonce != l.Nonce:
		return "nonce " + rec.Nonce.String()
	}
	return ""
}
