package conformancetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	azcontainer "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/multilock/multilock-go/backends/azblob"
	"github.com/multilock/multilock-go/backends/azblob/internal/seam"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/azurite"
)

// wire lists the requests of a driver and spoils some.
type wire struct {
	mu    sync.Mutex
	sent  []string
	spoil func(kind string, r *http.Request, next http.RoundTripper) (*http.Response, error)
}

var errLostReply = errors.New("test: the reply was lost")

// kind names a request.
func kind(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case q.Get("comp") == "lease":
		for name, values := range r.Header { // the SDK spells it in its own way
			if strings.EqualFold(name, "x-ms-lease-action") {
				return values[0]
			}
		}
	case q.Get("comp") == "metadata":
		return "metadata"
	case q.Get("restype") == "container":
		return "container"
	}
	return strings.ToLower(r.Method)
}

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		k := kind(r)
		w.mu.Lock()
		w.sent = append(w.sent, k)
		spoil := w.spoil
		w.mu.Unlock()
		if spoil != nil {
			return spoil(k, r, next)
		}
		return next.RoundTrip(r)
	})
}

func (w *wire) set(f func(kind string, r *http.Request, next http.RoundTripper) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spoil = f
}

// loseReply executes the requests of one kind but loses their replies.
func (w *wire) loseReply(of string) {
	w.set(func(k string, r *http.Request, next http.RoundTripper) (*http.Response, error) {
		p, err := next.RoundTrip(r)
		if k != of || err != nil {
			return p, err
		}
		_ = p.Body.Close()
		return nil, errLostReply
	})
}

// drop never sends the requests of one kind.
func (w *wire) drop(of string) {
	w.set(func(k string, r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if k == of {
			return nil, errLostReply
		}
		return next.RoundTrip(r)
	})
}

func (w *wire) heal() { w.set(nil) }

// during lists the requests that f makes.
func (w *wire) during(f func()) string {
	w.mu.Lock()
	w.sent = nil
	w.mu.Unlock()
	f()
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.sent, " ")
}

type fixture struct {
	*store
	a account
}

func newFixture(t *testing.T) *fixture {
	t.Parallel()
	a := shared()
	return &fixture{newStore(t, a), a}
}

func (f *fixture) open(t *testing.T) (driver.Driver, *wire) {
	t.Helper()
	d := open(t, azblob.Options{ConnectionString: f.a.connection, Container: f.container})
	w := &wire{}
	seam.Wrap(d, w.wrap)
	return d, w
}

func TestRequestsAreCounted(t *testing.T) {
	f := newFixture(t)
	d, w := f.open(t)
	other, ow := f.open(t)
	var tm driver.Term
	for _, c := range []struct {
		what, want string
		w          *wire
		do         func()
	}{
		{"the first acquire of all", "acquire put container put acquire head metadata", w, func() { tm = acquire(t, d, request("g")) }},
		{"a follower's attempt", "acquire", ow, func() {
			var held *driver.HeldError
			if _, err := other.Acquire(patience(t), request("g")); !errors.As(err, &held) || held.Record.Remaining != driver.RemainingUnknown {
				t.Errorf("held: %v", err)
			}
		}},
		{"a renewal", "renew", w, func() { want(t, "Renew", renew(t, d, tm, nil), nil) }},
		{"a renewal with metadata", "renew metadata", w, func() { want(t, "Renew", renew(t, d, tm, map[string]string{"a": "1"}), nil) }},
		{"the renewal after it", "renew", w, func() { want(t, "Renew", renew(t, d, tm, nil), nil) }},
		{"Leader", "head head", ow, func() {
			if r, err := other.Leader(patience(t), "g"); err != nil || r.Token != tm.Token {
				t.Errorf("Leader: %v, %v", r, err)
			}
		}},
		{"a resign", "metadata release", w, func() { want(t, "Resign", d.Resign(patience(t), tm), nil) }},
		{"Leader of nobody", "head", ow, func() {
			_, err := other.Leader(patience(t), "g")
			want(t, "Leader", err, driver.ErrNoLeader)
		}},
		{"an acquire", "acquire head metadata", ow, func() { acquire(t, other, request("g")) }},
		{"Ping", "head", w, func() { want(t, "Ping", d.(driver.Pinger).Ping(patience(t)), nil) }},
	} {
		if got := c.w.during(c.do); got != c.want {
			t.Errorf("%s sends %q, want %q", c.what, got, c.want)
		}
	}
}

func TestGrantCountsFromTheLease(t *testing.T) {
	f := newFixture(t)
	d, w := f.open(t)
	acquire(t, d, request("other")) // the container is there
	const delay = 2 * time.Second
	w.set(func(k string, r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if k == "metadata" {
			time.Sleep(delay)
		}
		return next.RoundTrip(r)
	})
	g, err := d.Acquire(patience(t), request("g"))
	if err != nil || g.Granted > long-delay {
		t.Errorf("with the record %v after the lease, %v was granted of %v: %v", delay, g.Granted, long, err)
	}
}

func TestLostReplies(t *testing.T) {
	for _, lost := range []string{"acquire", "head", "metadata"} {
		t.Run(lost, func(t *testing.T) {
			f := newFixture(t)
			d, w := f.open(t)
			other, _ := f.open(t)
			want(t, "Resign", other.Resign(patience(t), acquire(t, other, request("g"))), nil) // the blob is there
			req := request("g")
			w.loseReply(lost)
			if _, err := d.Acquire(patience(t), req); !errors.Is(err, errLostReply) {
				t.Fatalf("without the reply: %v", err)
			}
			var held *driver.HeldError
			if _, err := other.Acquire(patience(t), request("g")); !errors.As(err, &held) {
				t.Fatalf("another's attempt beside a lost reply: %v", err)
			}
			w.heal()
			g, err := d.Acquire(patience(t), req)
			if err != nil {
				t.Fatalf("sent again: %v", err)
			}
			r, err := other.Leader(patience(t), "g")
			if err != nil || r.Nonce != req.Nonce || r.Token != g.Token {
				t.Errorf("Leader: %v, %v, granted was %d", r, err, g.Token)
			}
		})
	}
	t.Run("resign", func(t *testing.T) {
		for _, lost := range []string{"metadata", "release"} {
			t.Run(lost, func(t *testing.T) {
				f := newFixture(t)
				d, w := f.open(t)
				tm := acquire(t, d, request("g"))
				w.loseReply(lost)
				if err := d.Resign(patience(t), tm); !errors.Is(err, errLostReply) {
					t.Fatalf("without the reply: %v", err)
				}
				w.heal()
				if err := d.Resign(patience(t), tm); err != nil && !errors.Is(err, driver.ErrLost) {
					t.Fatalf("sent again: %v", err)
				}
				other, _ := f.open(t)
				if next := acquire(t, other, request("g")); next.Token <= tm.Token {
					t.Errorf("token %d after %d", next.Token, tm.Token)
				}
			})
		}
	})
	t.Run("renewal with metadata", func(t *testing.T) {
		f := newFixture(t)
		d, w := f.open(t)
		tm := acquire(t, d, request("g"))
		w.loseReply("metadata")
		if err := renew(t, d, tm, map[string]string{"a": "1"}); !errors.Is(err, errLostReply) {
			t.Fatalf("without the reply: %v", err)
		}
		w.heal()
		// The write has changed the blob, and that is no loss.
		want(t, "the next renewal", renew(t, d, tm, nil), nil)
		if r, err := d.Leader(patience(t), "g"); err != nil || r.Metadata["a"] != "1" || r.Token != tm.Token {
			t.Errorf("Leader: %+v, %v", r, err)
		}
	})
}

// A participant that can send but hears nothing takes a free lease at most once,
// and lets it expire.
func TestDeafParticipantLetsGo(t *testing.T) {
	f := newFixture(t)
	deaf, w := f.open(t)
	other, _ := f.open(t)
	want(t, "Resign", other.Resign(patience(t), acquire(t, other, request("g"))), nil) // the blob is there
	w.set(func(k string, r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if p, err := next.RoundTrip(r); err == nil {
			_ = p.Body.Close()
		}
		return nil, errLostReply
	})
	req := brief("g")
	for deadline := time.Now().Add(2*ttl + 30*time.Second); ; time.Sleep(time.Second) {
		if _, err := deaf.Acquire(patience(t), req); !errors.Is(err, errLostReply) {
			t.Fatalf("without replies: %v", err)
		}
		var held *driver.HeldError
		_, err := other.Acquire(patience(t), request("g"))
		if err == nil {
			break
		}
		if !errors.As(err, &held) || time.Now().After(deadline) {
			t.Fatalf("the other participant: %v", err)
		}
	}
	w.heal()
	var held *driver.HeldError
	if _, err := deaf.Acquire(patience(t), req); !errors.As(err, &held) {
		t.Errorf("hearing again: %v", err)
	}
}

// Between taking the lease and writing its record a blob names the dead
// predecessor under somebody else's lease.
func TestPredecessorIsNotReported(t *testing.T) {
	f := newFixture(t)
	dead, _ := f.open(t)
	d, w := f.open(t)
	first := acquire(t, dead, brief("g")) // and never renewed
	w.drop("metadata")
	req := request("g")
	deadline := time.Now().Add(ttl + 30*time.Second)
	for {
		_, err := d.Acquire(patience(t), req)
		if errors.Is(err, errLostReply) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the dead leader's lease is not granted: %v", err)
		}
		req = request("g")
		time.Sleep(200 * time.Millisecond)
	}
	if r, err := dead.Leader(patience(t), "g"); err == nil || errors.Is(err, driver.ErrNoLeader) {
		t.Errorf("Leader under the lease of a term without a record: %v, %v", r, err)
	}
	want(t, "the dead leader's renewal", renew(t, dead, first, nil), driver.ErrLost)
	want(t, "the dead leader's resign", dead.Resign(patience(t), first), driver.ErrLost)
	// Given up, it frees the group and remembers its nonce.
	w.heal()
	want(t, "Resign of an attempt without an answer", d.Resign(patience(t), driver.Term{Group: "g", Nonce: req.Nonce}), nil)
	_, err := d.Acquire(patience(t), req)
	want(t, "a duplicate of it", err, driver.ErrResigned)
	if next := acquire(t, dead, request("g")); next.Token <= first.Token {
		t.Errorf("token %d after %d", next.Token, first.Token)
	}
}

// A write of the record that was held up may arrive when the same lease has been
// written again, or when another leads.
func TestLateRecordIsRefused(t *testing.T) {
	f := newFixture(t)
	d, w := f.open(t)
	acquire(t, d, request("other"))
	req := request("g")
	held := make(chan *http.Request, 1)
	w.set(func(k string, r *http.Request, next http.RoundTripper) (*http.Response, error) {
		if k == "metadata" {
			select {
			case held <- r.Clone(context.WithoutCancel(r.Context())): // it has no body
				return nil, errLostReply
			default:
			}
		}
		return next.RoundTrip(r)
	})
	if _, err := d.Acquire(patience(t), req); !errors.Is(err, errLostReply) {
		t.Fatal(err)
	}
	g, err := d.Acquire(patience(t), req)
	if err != nil {
		t.Fatal(err)
	}
	late := func(when string) {
		t.Helper()
		r := <-held
		p, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Body.Close()
		if p.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("a late write of the record %s: %s", when, p.Status)
		}
		held <- r
	}
	late("under the same lease")
	tm := driver.Term{Group: "g", Nonce: req.Nonce, Token: g.Token}
	want(t, "Renew", renew(t, d, tm, nil), nil)
	want(t, "Resign", d.Resign(patience(t), tm), nil)
	late("after the term")
	w.heal()
	next := acquire(t, d, request("g"))
	late("under another's lease")
	if next.Token <= g.Token {
		t.Errorf("token %d after %d", next.Token, g.Token)
	}
}

func TestLargeMetadata(t *testing.T) {
	f := newFixture(t)
	d, w := f.open(t)
	other, _ := f.open(t)
	large := make(map[string]string)
	for i := range multilock.MaxMetadata {
		large[fmt.Sprintf("%0*d", multilock.MaxMetadataKey, i)] = strings.Repeat("é", multilock.MaxMetadataValue/2)
	}
	small := map[string]string{"a": "1"}
	check := func(what string, want map[string]string) {
		t.Helper()
		if r, err := other.Leader(patience(t), "g"); err != nil || !maps.Equal(r.Metadata, want) {
			t.Errorf("%s: %d entries, %v, want %d", what, len(r.Metadata), err, len(want))
		}
	}
	req := request("g")
	req.Metadata = large
	tm := acquire(t, d, req)
	check("acquired", large)
	if again := acquire(t, d, req); again.Token != tm.Token {
		t.Errorf("sent again: token %d, then %d", tm.Token, again.Token)
	}
	want(t, "Renew", renew(t, d, tm, nil), nil)
	check("renewed", large)
	want(t, "Renew", renew(t, d, tm, small), nil)
	check("smaller", small)
	if got := w.during(func() { want(t, "Renew", renew(t, d, tm, map[string]string{}), nil) }); got != "renew metadata" {
		t.Errorf("small metadata after small is written by %q", got)
	}
	check("none", nil)
	want(t, "Renew", renew(t, d, tm, large), nil)
	check("large again", large)
	want(t, "Resign", d.Resign(patience(t), tm), nil)
	if p, err := f.admin.NewBlobClient(blobOf("g")).GetProperties(patience(t), nil); err != nil || *p.ContentLength != 0 {
		t.Errorf("a resigned term leaves %d bytes, %v", *p.ContentLength, err)
	}
	check2, err := other.Leader(patience(t), "g")
	if !errors.Is(err, driver.ErrNoLeader) {
		t.Errorf("after Resign: %v, %v", check2, err)
	}
}

// Whoever breaks a lease ends the term, visibly.
func TestBrokenLease(t *testing.T) {
	f := newFixture(t)
	d, _ := f.open(t)
	tm := acquire(t, d, request("g"))
	f.breakLease(t, blobOf("g"))
	_, err := d.Leader(patience(t), "g")
	want(t, "Leader", err, driver.ErrNoLeader)
	want(t, "Renew", renew(t, d, tm, nil), driver.ErrLost)
	want(t, "Resign", d.Resign(patience(t), tm), driver.ErrLost)
	if next := acquire(t, d, request("g")); next.Token <= tm.Token {
		t.Errorf("token %d after %d", next.Token, tm.Token)
	}
}

// Azurite takes every lease for expired when it was restarted, so of a restart
// only this can be asked of it.
func TestTokensSurviveRestart(t *testing.T) {
	t.Parallel()
	s := azurite.Start(t)
	d := open(t, azblob.Options{ConnectionString: azurite.ConnectionString(s.Addr)})
	var last uint64
	for range 3 {
		tm := acquire(t, d, request("g"))
		if tm.Token <= last {
			t.Errorf("token %d after %d", tm.Token, last)
		}
		last = tm.Token + 1_000_000_000_000 // what only the record can tell, and no clock
		f := &store{}
		client, err := azcontainer.NewClientFromConnectionString(azurite.ConnectionString(s.Addr), "leader-election", nil)
		if err != nil {
			t.Fatal(err)
		}
		f.admin = client
		want(t, "Resign", d.Resign(patience(t), tm), nil)
		f.change(t, "g", func(r map[string]json.RawMessage) { r["token"] = encode(t, last) })
		s.Terminate() // Azurite keeps its newest writes in memory for a while
		s.Start()
	}
}
