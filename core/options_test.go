package multilock

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func TestOptionDefaults(t *testing.T) {
	o, err := Options{Group: "g"}.resolve(fakeInfo)
	if err != nil {
		t.Fatal(err)
	}
	if o.HeartbeatTimeout != 15*time.Second || o.Margin != time.Second || o.HeartbeatInterval != 14*time.Second/3 ||
		o.ElectionInterval != 10*time.Second || o.LockTimeout != o.HeartbeatInterval || o.Spread != 100*time.Millisecond ||
		o.DrainTimeout != 10*time.Second || o.DrainDelay != 0 {
		t.Errorf("defaults %+v", o)
	}
	if !validName(o.ParticipantID) || len(o.ParticipantID) < 10 {
		t.Errorf("participant %q", o.ParticipantID)
	}
	if o, err = (Options{Group: "g"}).resolve(driver.Info{Name: "x", MinTTL: 20 * time.Second, MaxTTL: 30 * time.Second}); err != nil || o.HeartbeatTimeout != 20*time.Second {
		t.Errorf("the default is not moved into the backend's range: %v, %v", o.HeartbeatTimeout, err)
	}
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	info := driver.Info{Name: "x", MinTTL: 10 * time.Second, MaxTTL: 60 * time.Second, TTLGranularity: time.Second}
	long := map[string]string{"": "v"}
	for _, c := range []struct {
		o    Options
		want []string
	}{
		{Options{}, []string{"Options.Group: required"}},
		{Options{Group: "a/b", ParticipantID: "x y", HeartbeatTimeout: time.Second, Metadata: long, Spread: -1}, []string{
			`Options.Group: must be 1 to 255 characters of A-Z a-z 0-9 _ . - and neither "." nor "..", got "a/b"`,
			`Options.ParticipantID: `, `Options.Metadata key: `, `Options.Spread: must not be negative, got -1ns`,
			`Options.HeartbeatTimeout: must be between 10s and 1m0s on backend x, got 1s`}},
		{Options{Group: "g", HeartbeatTimeout: 10500 * time.Millisecond}, []string{`must be a multiple of 1s on backend x, got 10.5s`}},
		{Options{Group: "g", HeartbeatInterval: 6 * time.Second}, []string{`Options.HeartbeatInterval: must fit at least 2.5 times into the 14s`}},
		{Options{Group: "g", Margin: time.Millisecond}, []string{`Options.Margin: must be at least 1s with a HeartbeatTimeout of 15s, got 1ms`}},
		{Options{Group: "g", Metadata: map[string]string{"k": strings.Repeat("x", 4001)}}, []string{`Options.Metadata["k"]: must be at most 4000 bytes`}},
		{Options{Group: "g", Metadata: map[string]string{"k": "\xff"}}, []string{`Options.Metadata["k"]`}},
		{Options{Group: strings.Repeat("x", 300)}, []string{`(300 bytes)`}},
	} {
		_, err := c.o.resolve(info)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", c.o, err)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("error %q lacks %q", err, w)
			}
		}
	}
}

func TestMarginFormula(t *testing.T) {
	for ttl, want := range map[time.Duration]time.Duration{
		50 * time.Millisecond: 10 * time.Millisecond, time.Second: 100 * time.Millisecond, 5 * time.Second: 500 * time.Millisecond,
		15 * time.Second: time.Second, time.Hour: 36 * time.Second,
	} {
		if got := minMargin(ttl); got != want {
			t.Errorf("margin of %v = %v, want %v", ttl, got, want)
		}
	}
}

func TestShorteningLeavesRoomForHeartbeats(t *testing.T) {
	info := driver.Info{Name: "x", Shortening: 5 * time.Second}
	o, err := Options{Group: "g"}.resolve(info)
	if err != nil || o.HeartbeatInterval != 3*time.Second {
		t.Errorf("heartbeat %v, %v", o.HeartbeatInterval, err)
	}
	if _, err = (Options{Group: "g", HeartbeatTimeout: 5 * time.Second}).resolve(info); !errors.Is(err, ErrInvalid) {
		t.Errorf("no time to believe, and %v", err)
	}
}

func TestBackendRefusesContradictions(t *testing.T) {
	if _, err := NewBackend(nil, fakeInfo); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	_, err := NewBackend(&fakeDriver{}, driver.Info{PushOnResign: true, MinTTL: 2, MaxTTL: 1, Shortening: -1})
	for _, w := range []string{"Info.Name", "Info.MaxTTL", "Info.TTLGranularity", "Info.PushOnResign"} {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v lacks %s", err, w)
		}
	}
	if _, err := New(nil, Options{Group: "g"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}
