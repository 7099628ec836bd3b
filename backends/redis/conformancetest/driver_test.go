package conformancetest

import (
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func TestAcquireHoldsExtendsAndExpires(t *testing.T) {
	t.Parallel()
	a, b := open(t, at(shared())), open(t, at(shared()))
	group := newGroup()
	req := request(group, "a")
	req.Metadata = map[string]string{"zone": "ü \"1\""}
	before := time.Now().Add(-time.Second)
	g, err := a.Acquire(patience(t), req)
	if err != nil || g.Granted != ttl || g.Token < uint64(before.UnixMicro()) || g.AcquiredAt.Before(before) {
		t.Fatalf("grant = %+v, err = %v", g, err)
	}
	_, err = b.Acquire(patience(t), request(group, "b"))
	rec := mustHold(t, err)
	if rec.Term != term(req, g) || rec.TTL != ttl || rec.Remaining <= 0 || rec.Remaining > ttl ||
		!maps.Equal(rec.Metadata, req.Metadata) || !rec.AcquiredAt.Equal(g.AcquiredAt) {
		t.Fatalf("holder = %+v", rec)
	}
	time.Sleep(50 * time.Millisecond)
	again, err := a.Acquire(patience(t), req)
	if err != nil || again.Token != g.Token || !again.AcquiredAt.Equal(g.AcquiredAt) || again.Granted != ttl {
		t.Fatalf("the same nonce again: %+v, %v", again, err)
	}
	if now, err := b.Leader(patience(t), group); err != nil || now.Remaining <= rec.Remaining-50*time.Millisecond {
		t.Fatalf("not extended: %v then %v (%v)", rec.Remaining, now.Remaining, err)
	}

	short := request(newGroup(), "a")
	short.TTL = 100 * time.Millisecond
	first := acquire(t, a, short)
	time.Sleep(150 * time.Millisecond)
	if _, err := b.Leader(patience(t), short.Group); err == nil {
		t.Fatal("an expired record is told as live")
	}
	if _, err := renewOne(t, a, first, ttl); err != driver.ErrLost {
		t.Fatalf("Renew after expiry: %v", err)
	}
	want(t, "Resign after expiry", a.Resign(patience(t), first), driver.ErrLost)
	if second := acquire(t, a, short); second.Token <= first.Token {
		t.Fatalf("the same nonce after expiry: token %d, then %d", first.Token, second.Token)
	}
}

func TestRenewExtendsNeverShortensNeverCreates(t *testing.T) {
	t.Parallel()
	d := open(t, at(shared()))
	req := request(newGroup(), "a")
	tm := acquire(t, d, req)
	if g, err := renewOne(t, d, tm, ttl); err != nil || g != ttl {
		t.Fatalf("Renew: %v, %v", g, err)
	}
	if g, err := renewOne(t, d, tm, time.Second); err != nil || g != time.Second {
		t.Fatalf("a shorter Renew: %v, %v", g, err)
	}
	if rec, err := d.Leader(patience(t), req.Group); err != nil || rec.Remaining < ttl/2 {
		t.Fatalf("a shorter Renew shortened: %+v, %v", rec, err)
	}
	other := tm
	other.Nonce = driver.NewNonce()
	none := tm
	none.Group = newGroup()
	res := renew(t, d,
		driver.RenewRequest{Term: tm, TTL: ttl, Metadata: map[string]string{"a": "1"}},
		driver.RenewRequest{Term: other, TTL: ttl},
		driver.RenewRequest{Term: none, TTL: ttl},
		driver.RenewRequest{Term: tm, TTL: ttl})
	for i, w := range []error{nil, driver.ErrLost, driver.ErrLost, nil} {
		if res[i].Err != w {
			t.Errorf("result %d: %v, want %v", i, res[i].Err, w)
		}
	}
	if _, err := d.Leader(patience(t), none.Group); err != driver.ErrNoLeader {
		t.Errorf("Renew created a record: %v", err)
	}
	rec, err := d.Leader(patience(t), req.Group)
	if err != nil || rec.Term != tm || rec.Metadata["a"] != "1" {
		t.Fatalf("record = %+v, %v", rec, err)
	}
	if r := renew(t, d, driver.RenewRequest{Term: tm, TTL: ttl, Metadata: map[string]string{}}); r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	if rec, err := d.Leader(patience(t), req.Group); err != nil || len(rec.Metadata) != 0 {
		t.Fatalf("an empty map did not clear the metadata: %+v, %v", rec, err)
	}
}

func TestResignFreesRefusesTheNonceAndTouchesNoOther(t *testing.T) {
	t.Parallel()
	a, b := open(t, at(shared())), open(t, at(shared()))
	req := request(newGroup(), "a")
	first := acquire(t, a, req)
	if err := a.Resign(patience(t), first); err != nil {
		t.Fatal(err)
	}
	want(t, "second Resign", a.Resign(patience(t), first), driver.ErrLost)
	_, err := a.Acquire(patience(t), req)
	want(t, "Acquire with the resigned nonce", err, driver.ErrResigned)
	second := acquire(t, b, request(req.Group, "b"))
	if second.Token <= first.Token {
		t.Fatalf("token %d after %d", second.Token, first.Token)
	}
	want(t, "late Resign", a.Resign(patience(t), first), driver.ErrLost)
	if rec, err := b.Leader(patience(t), req.Group); err != nil || rec.Term != second {
		t.Fatalf("a late Resign touched the successor: %+v, %v", rec, err)
	}
	_, err = a.Acquire(patience(t), req)
	want(t, "Acquire with the resigned nonce under another leader", err, driver.ErrResigned)
}

func TestTokensStayExactBeyondFloats(t *testing.T) {
	t.Parallel()
	s := shared()
	d := open(t, at(s))
	group := newGroup()
	tm := acquire(t, d, request(group, "a"))
	if err := d.Resign(patience(t), tm); err != nil {
		t.Fatal(err)
	}
	for _, last := range []uint64{1<<53 - 1, 1 << 53, 1<<53 + 1, 1<<62 + 1} {
		s.Do("HSET", "leader-election:{"+group+"}", "token", strconv.FormatUint(last, 10))
		tm := acquire(t, d, request(group, "a"))
		if tm.Token != last+1 {
			t.Fatalf("token after %d is %d", last, tm.Token)
		}
		if rec, err := d.Leader(patience(t), group); err != nil || rec.Token != tm.Token {
			t.Fatalf("record = %+v, %v", rec, err)
		}
		if err := d.Resign(patience(t), tm); err != nil {
			t.Fatal(err)
		}
	}
}

func TestForeignRecordIsNeitherFreeNorOurs(t *testing.T) {
	t.Parallel()
	s := shared()
	d := open(t, at(s))
	for name, spoil := range map[string]func(key string){
		"another type": func(key string) { s.Do("DEL", key); s.Do("SET", key, "mine") },
		"another hash": func(key string) { s.Do("DEL", key); s.Do("HSET", key, "a", "b") },
		"no number":    func(key string) { s.Do("HSET", key, "expiry", "nan") },
		"no token":     func(key string) { s.Do("HDEL", key, "token") },
	} {
		tm := acquire(t, d, request(newGroup(), "a"))
		spoil("leader-election:{" + tm.Group + "}")
		if _, err := renewOne(t, d, tm, ttl); err != driver.ErrLost {
			t.Errorf("%s: Renew: %v", name, err)
		}
		want(t, name+": Resign", d.Resign(patience(t), tm), driver.ErrLost)
		_, err := d.Acquire(patience(t), request(tm.Group, "b"))
		if rec := mustHold(t, err); rec.Remaining != driver.RemainingUnknown {
			t.Errorf("%s: %+v", name, rec)
		}
		if _, err := d.Leader(patience(t), tm.Group); err == nil || err == driver.ErrNoLeader {
			t.Errorf("%s: Leader: %v", name, err)
		}
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	d := open(t, at(shared()))
	const n = 500
	reqs := make([]driver.AcquireRequest, n)
	renewals := make([]driver.RenewRequest, n)
	names := make([]string, n)
	for i := range reqs {
		reqs[i] = request(newGroup(), "a")
		names[i] = reqs[i].Group
	}
	taken := acquire(t, open(t, at(shared())), request(names[7], "other"))
	got := make([]error, n)
	d.(driver.BatchAcquirer).AcquireBatch(patience(t), reqs, func(i int, g driver.Grant, err error) {
		got[i] = err
		renewals[i] = driver.RenewRequest{Term: term(reqs[i], g), TTL: ttl}
	})
	for i, err := range got {
		if i == 7 {
			mustHold(t, err)
		} else if err != nil {
			t.Fatalf("attempt %d: %v", i, err)
		}
	}
	for i, r := range renew(t, d, renewals...) {
		if i == 7 && r.Err != driver.ErrLost || i != 7 && (r.Err != nil || r.Granted != ttl) {
			t.Fatalf("renewal %d: %+v", i, r)
		}
	}
	if err := d.Resign(patience(t), renewals[8].Term); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	d.(driver.BatchReader).Leaders(patience(t), names, func(g string, rec driver.Record, err error) {
		seen[g] = true
		switch g {
		case names[8]:
			if err != driver.ErrNoLeader {
				t.Errorf("resigned group: %v", err)
			}
		case names[7]:
			if err != nil || rec.Term != taken {
				t.Errorf("group of another: %+v, %v", rec, err)
			}
		default:
			if err != nil || rec.Group != g || rec.Participant != "a" {
				t.Errorf("%s: %+v, %v", g, rec, err)
			}
		}
	})
	if len(seen) != n {
		t.Errorf("%d groups were told, want %d", len(seen), n)
	}
}

func TestUseAfterClose(t *testing.T) {
	t.Parallel()
	d := open(t, at(shared()))
	tm := acquire(t, d, request(newGroup(), "a"))
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := d.Acquire(patience(t), request(newGroup(), "a"))
	want(t, "Acquire", err, driver.ErrClosed)
	_, err = renewOne(t, d, tm, ttl)
	want(t, "Renew", err, driver.ErrClosed)
	want(t, "Resign", d.Resign(patience(t), tm), driver.ErrClosed)
	_, err = d.Leader(patience(t), tm.Group)
	want(t, "Leader", err, driver.ErrClosed)
	want(t, "Ping", d.(driver.Pinger).Ping(patience(t)), driver.ErrClosed)
	_, err = d.(driver.Watcher).Watch(patience(t), nil)
	want(t, "Watch", err, driver.ErrClosed)
}
