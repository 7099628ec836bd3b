package consul

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

func TestRecordRoundTrip(t *testing.T) {
	n := driver.NewNonce()
	want := record{
		Nonce: n.String(), Participant: "p", AcquiredAt: time.Now().UTC().Round(0), TTL: 1500, LockDelay: 1350,
		Metadata: map[string]string{"a": "<b>\x00\"", "": "ä"}, Ended: driver.NewNonce().String(),
	}
	p := &api.KVPair{Value: want.encode(), ModifyIndex: 42, Session: "s"}
	got := decode(p)
	want.Format = recordFormat
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	rec := got.term("g", p)
	if rec.Token != 42 || rec.Nonce != n || rec.TTL != 1500*time.Millisecond || rec.Remaining != driver.RemainingUnknown {
		t.Fatalf("term: %+v", rec)
	}
	got.Token = 41 // written by a later update, which moved the index
	if rec := got.term("g", p); rec.Token != 41 {
		t.Fatalf("token: %d", rec.Token)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte(`{"multilock":1,"nonce":"x","token":18446744073709551615}`))
	f.Add([]byte(`{"multilock":2}`))
	f.Add([]byte(`{"multilock":1,"acquired_at":"yesterday"}`))
	f.Add(record{Nonce: driver.NewNonce().String(), Metadata: map[string]string{"a": "b"}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		p := &api.KVPair{Value: b, ModifyIndex: 7, Session: "s"}
		r := decode(p)
		rec := r.term("g", p)
		if r.Format == 0 && (rec.Participant != "" || !rec.Nonce.IsZero() || rec.Token != 0) {
			t.Fatalf("a foreign value is taken for a term: %+v", rec)
		}
		if r.Format != 0 {
			if again := decode(&api.KVPair{Value: r.encode()}); again.Nonce != r.Nonce || again.Ended != r.Ended || again.Token != r.Token {
				t.Fatalf("%+v became %+v", r, again)
			}
		}
		decodeRing(p)
	})
}

func TestLockDelay(t *testing.T) {
	for _, c := range []struct {
		option, ttl, want time.Duration
	}{
		{0, 15 * time.Second, 15 * time.Second},
		{0, time.Second, time.Second},
		{0, 10 * time.Minute, time.Minute},
		{5 * time.Second, 15 * time.Second, 5 * time.Second},
		{-1, 15 * time.Second, time.Millisecond},
	} {
		s := &store{o: Options{LockDelay: c.option}}
		if got := s.lockDelay(c.ttl); got != c.want {
			t.Errorf("option %v, ttl %v: %v, want %v", c.option, c.ttl, got, c.want)
		}
	}
}

func TestInfo(t *testing.T) {
	worst := func(o Options, ttl time.Duration) time.Duration {
		_, i, err := NewDriver(o)
		if err != nil {
			t.Fatal(err)
		}
		return i.WorstCaseExpiry(ttl)
	}
	// two times-to-live, the lock-delay of at most one more, and a sweep
	if got := worst(Options{}, 15*time.Second); got != 55*time.Second {
		t.Errorf("default: %v", got)
	}
	if got := worst(Options{LockDelay: 5 * time.Second, SweepInterval: time.Second}, 15*time.Second); got != 36*time.Second {
		t.Errorf("with a lock-delay of 5 s: %v", got)
	}
	if got := worst(Options{LockDelay: -1, SweepInterval: time.Second}, 15*time.Second); got != 31*time.Second {
		t.Errorf("without lock-delay: %v", got)
	}
	_, i, _ := NewDriver(Options{})
	if i.MinTTL != 10*time.Second || i.MaxTTL != time.Minute {
		t.Errorf("bounds: %v to %v", i.MinTTL, i.MaxTTL)
	}
	_, i, _ = NewDriver(Options{LongTTL: true, MinSessionTTL: time.Second})
	if i.MinTTL != time.Second || i.MaxTTL != 24*time.Hour {
		t.Errorf("bounds: %v to %v", i.MinTTL, i.MaxTTL)
	}
}

func TestOptions(t *testing.T) {
	o, err := ParseURL("consul://10.0.0.1:8500?multilock.key_prefix=a/b&multilock.datacenter=dc2")
	if err != nil || o.Address != "http://10.0.0.1:8500" || o.KeyPrefix != "a/b" || o.Datacenter != "dc2" {
		t.Fatalf("%v, %v", o, err)
	}
	for _, bad := range []string{
		"consul://user:hunter2@h:8500", "consul://h:8500/leader-election", "consul://h:8500#x",
		"consul://h:8500?token=hunter2", "consul://h:8500?multilock.token=hunter2",
		"consul://h:8500?multilock.key_prefix=a//b", "consul://h:8500?multilock.key_prefix=a/../b",
	} {
		_, err := ParseURL(bad)
		if !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error quotes a secret: %v", bad, err)
		}
	}
	if _, err := FromClient(nil, Options{}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("no client: %v", err)
	}
	if _, err := FromClient(&api.Client{}, Options{Token: "hunter2"}); !errors.Is(err, multilock.ErrInvalid) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a token beside a client: %v", err)
	}
}

func TestKeysAreDistinct(t *testing.T) {
	s := &store{prefix: prefixOf("a/b/")}
	if s.prefix != "a/b/" {
		t.Fatalf("prefix %q", s.prefix)
	}
	seen := make(map[string]bool)
	for n := range bells {
		seen[s.bellKey(n)] = true
	}
	for _, g := range []string{".bell", "bell", ".bell.0", "..bell", "0", "A", "a"} {
		if seen[s.key(g)] {
			t.Errorf("the key of group %s is taken", g)
		}
		seen[s.key(g)] = true
	}
}

func FuzzDecodeRing(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte("{}"))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := decodeRing(&api.KVPair{Value: b})
		if again := decodeRing(&api.KVPair{Value: r.encode()}); !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v became %+v", r, again)
		}
	})
}
