package conformancetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// A server may leave a statement for seconds between reading the clock and
// writing, while it waits for a lock or the disk. By then the term may have been
// renewed on another connection, and its expiry, which looks too far away by the
// old reading, is right.

// stalled starts f, whose statement stops after it has read the clock, and
// returns a function that lets it go on and waits for its end.
func (x *target) stalled(t *testing.T, statement string, f func()) (finish func()) {
	t.Helper()
	reached, release := x.server.Hold(statement)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-reached:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s was never sent", statement)
	}
	finish = func() {
		release()
		<-done
	}
	t.Cleanup(finish)
	return finish
}

// until checks by the frozen clock that the group is led just before left has
// passed, and not after it.
func (x *target) until(t *testing.T, d driver.Driver, left time.Duration) {
	t.Helper()
	const slack = 10 * time.Microsecond // a renewal that keeps the expiry may move it by one
	x.server.StepClock(left - slack)
	if _, err := d.Leader(t.Context(), "g"); err != nil {
		t.Errorf("the term was shortened: %v", err)
	}
	x.server.StepClock(2 * slack)
	if _, err := d.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrNoLeader) {
		t.Errorf("the term did not end: %v", err)
	}
}

func TestStalledStatementDoesNotShorten(t *testing.T) {
	const ttl, stall = 15 * time.Second, 5 * time.Second
	for _, how := range []string{"renewal", "row by row", "challenger", "acquire sent again"} {
		t.Run(how, func(t *testing.T) {
			x := newStandInOnly(t)
			x.server.FreezeClock()
			d, other := x.driver(t), x.driver(t)
			term, _ := acquire(t, d, "g", ttl)
			stale := func() {
				if r := renewOne(context.Background(), d, driver.RenewRequest{Term: term, TTL: ttl}); r.Err != nil {
					t.Errorf("stalled renewal: %v", r.Err)
				}
			}
			statement := "renew"
			switch how {
			case "row by row":
				locked, _ := acquire(t, d, "locked row", ttl)
				x.lockRow(t, "locked row")
				statement = "renew row"
				stale = func() {
					d.Renew(context.Background(), []driver.RenewRequest{{Term: term, TTL: ttl}, {Term: locked, TTL: ttl}}, func(r driver.RenewResult) {
						if r.Index == 0 && r.Err != nil {
							t.Errorf("stalled renewal: %v", r.Err)
						}
					})
				}
			case "challenger":
				statement = "acquire"
				stale = func() {
					_, err := d.Acquire(context.Background(), driver.AcquireRequest{Group: "g", Participant: "q", Nonce: driver.NewNonce(), TTL: ttl})
					if _, held := errors.AsType[*driver.HeldError](err); !held {
						t.Errorf("stalled challenger: %v", err)
					}
				}
			case "acquire sent again":
				statement = "acquire"
				stale = func() {
					if _, err := d.Acquire(context.Background(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: term.Nonce, TTL: ttl}); err != nil {
						t.Errorf("stalled acquire: %v", err)
					}
				}
			}
			finish := x.stalled(t, statement, stale)
			x.server.StepClock(stall)
			if r := renewOne(t.Context(), other, driver.RenewRequest{Term: term, TTL: ttl}); r.Err != nil || r.Granted != ttl {
				t.Fatalf("renewal meanwhile: %+v", r)
			}
			finish()
			x.until(t, other, ttl)
		})
	}
}

// TestClampAndRenewalMeet: after the clock was set back, somebody limits the record
// as it was seen; a renewal in between, which kept the expiry, was granted for
// longer than that.
func TestClampAndRenewalMeet(t *testing.T) {
	const ttl, stall = 15 * time.Second, 5 * time.Second
	for _, statement := range []string{"acquire", "renew clamp"} {
		t.Run(statement, func(t *testing.T) {
			x := newStandInOnly(t)
			x.server.FreezeClock()
			d, other := x.driver(t), x.driver(t)
			term, _ := acquire(t, d, "g", ttl)
			// By the first reading the record lasts 20.5 s, by that of the renewal 15.5 s,
			// which is in order.
			x.server.StepClock(-stall - 500*time.Millisecond)
			finish := x.stalled(t, statement, func() {
				if statement == "acquire" {
					_, err := d.Acquire(context.Background(), driver.AcquireRequest{Group: "g", Participant: "q", Nonce: driver.NewNonce(), TTL: ttl})
					if _, held := errors.AsType[*driver.HeldError](err); !held {
						t.Errorf("challenger: %v", err)
					}
				} else if r := renewOne(context.Background(), d, driver.RenewRequest{Term: term, TTL: ttl}); r.Err != nil {
					t.Errorf("first renewal: %v", r.Err)
				}
			})
			x.server.StepClock(stall)
			if r := renewOne(t.Context(), other, driver.RenewRequest{Term: term, TTL: ttl}); r.Err != nil || r.Granted != ttl {
				t.Fatalf("renewal meanwhile: %+v", r)
			}
			finish()
			x.until(t, other, ttl+500*time.Millisecond)
		})
	}
}
