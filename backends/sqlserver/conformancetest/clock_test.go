package conformancetest

import (
	"errors"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// TestClockSetBack: whoever looks at the record next limits it to its own TTL.
func TestClockSetBack(t *testing.T) {
	for _, how := range []string{"challenger", "renewal", "acquire sent again"} {
		t.Run(how, func(t *testing.T) {
			x := newStandInOnly(t)
			x.server.FreezeClock()
			d := x.driver(t)
			term, _ := acquire(t, d, "g", time.Minute)
			x.server.StepClock(-time.Hour)
			switch how {
			case "challenger":
				_, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "q", Nonce: driver.NewNonce(), TTL: time.Second})
				held, ok := errors.AsType[*driver.HeldError](err)
				if !ok || held.Record.Remaining != time.Minute {
					t.Fatalf("%v", err)
				}
			case "renewal":
				if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Second}); r.Err != nil {
					t.Fatal(r.Err)
				}
			default:
				if _, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: term.Nonce, TTL: time.Second}); err != nil {
					t.Fatal(err)
				}
			}
			x.server.StepClock(time.Minute - time.Microsecond)
			if _, err := d.Leader(t.Context(), "g"); err != nil {
				t.Errorf("just before: %v", err)
			}
			x.server.StepClock(2 * time.Microsecond) // every grant changes the expiry, if only by one
			if _, err := d.Leader(t.Context(), "g"); !errors.Is(err, driver.ErrNoLeader) {
				t.Errorf("just after: %v", err)
			}
		})
	}
}

// TestExactExpiry: nobody gets the lease one tick too early.
func TestExactExpiry(t *testing.T) {
	x := newStandInOnly(t)
	x.server.FreezeClock()
	d := x.driver(t)
	_, first := acquire(t, d, "g", time.Minute)
	req := driver.AcquireRequest{Group: "g", Participant: "q", Nonce: driver.NewNonce(), TTL: time.Minute}
	x.server.StepClock(time.Minute - time.Microsecond)
	if _, err := d.Acquire(t.Context(), req); err == nil {
		t.Fatal("granted a microsecond early")
	}
	x.server.StepClock(time.Microsecond)
	g, err := d.Acquire(t.Context(), req)
	if err != nil || g.Token <= first.Token {
		t.Fatalf("%+v, %v", g, err)
	}
}

// TestClockForward: tokens rise although the clock was wrong for a while.
func TestClockForward(t *testing.T) {
	x := newStandInOnly(t)
	x.server.FreezeClock()
	d := x.driver(t)
	x.server.StepClock(time.Hour)
	_, a := acquire(t, d, "g", time.Second)
	x.server.StepClock(-time.Hour + time.Minute)
	if _, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Second}); err == nil {
		t.Fatal("the record must last its TTL from when it was seen")
	}
	x.server.StepClock(time.Second)
	if _, b := acquire(t, d, "g", time.Second); b.Token != a.Token+1 {
		t.Fatalf("token %d after %d", b.Token, a.Token)
	}
}

// TestLongIdle is longer than 24.8 days, after which milliseconds overflow an int.
func TestLongIdle(t *testing.T) {
	x := newStandInOnly(t)
	d := x.driver(t)
	_, a := acquire(t, d, "g", 30*24*time.Hour)
	x.server.StepClock(400 * 24 * time.Hour)
	if _, b := acquire(t, d, "g", time.Second); b.Token <= a.Token {
		t.Fatalf("token %d after %d", b.Token, a.Token)
	}
}
