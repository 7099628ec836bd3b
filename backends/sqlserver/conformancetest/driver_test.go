package conformancetest

import (
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/core/driver"
)

func TestAcquireRenewResign(t *testing.T) {
	x := newTarget(t)
	a, b := x.driver(t), x.driver(t)
	ctx := t.Context()
	if _, err := a.Leader(ctx, "g"); !errors.Is(err, driver.ErrNoLeader) {
		t.Fatalf("leader before the table exists: %v", err)
	}
	n := driver.NewNonce()
	meta := map[string]string{"zone": "eu-é中😀", "quote": `"'\`}
	req := driver.AcquireRequest{Group: "g", Participant: "pa", Nonce: n, TTL: time.Minute, Metadata: meta}
	g, err := a.Acquire(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if g.Granted != time.Minute || g.Token < 1e15 || time.Since(g.AcquiredAt).Abs() > time.Hour {
		t.Errorf("grant %+v", g)
	}
	again, err := a.Acquire(ctx, req)
	if err != nil || again.Token != g.Token || !again.AcquiredAt.Equal(g.AcquiredAt) {
		t.Errorf("own live term again: %+v, %v; first %+v", again, err, g)
	}
	var held *driver.HeldError
	_, err = b.Acquire(ctx, driver.AcquireRequest{Group: "g", Participant: "pb", Nonce: driver.NewNonce(), TTL: time.Minute})
	if !errors.As(err, &held) {
		t.Fatalf("second candidate: %v", err)
	}
	rec := held.Record
	if rec.Participant != "pa" || rec.Nonce != n || rec.Token != g.Token || rec.TTL != time.Minute ||
		rec.Remaining <= 0 || rec.Remaining > time.Minute || !maps.Equal(rec.Metadata, meta) {
		t.Errorf("holder %+v", rec)
	}
	term := driver.Term{Group: "g", Nonce: n, Token: g.Token}
	if r := renewOne(ctx, a, driver.RenewRequest{Term: term, TTL: time.Minute, Metadata: map[string]string{}}); r.Err != nil || r.Granted != time.Minute {
		t.Errorf("renew: %+v", r)
	}
	if rec, err := b.Leader(ctx, "g"); err != nil || len(rec.Metadata) != 0 || rec.Token != g.Token || !rec.AcquiredAt.Equal(g.AcquiredAt) {
		t.Errorf("leader after metadata was cleared: %+v, %v", rec, err)
	}
	if err := b.Resign(ctx, driver.Term{Group: "g", Nonce: driver.NewNonce()}); !errors.Is(err, driver.ErrLost) {
		t.Errorf("resign of a stranger: %v", err)
	}
	if err := a.Resign(ctx, term); err != nil {
		t.Errorf("resign: %v", err)
	}
	if err := a.Resign(ctx, term); !errors.Is(err, driver.ErrLost) {
		t.Errorf("resign again: %v", err)
	}
	if r := renewOne(ctx, a, driver.RenewRequest{Term: term, TTL: time.Minute}); !errors.Is(r.Err, driver.ErrLost) {
		t.Errorf("renew after resign: %+v", r)
	}
	if _, err := a.Acquire(ctx, req); !errors.Is(err, driver.ErrResigned) {
		t.Errorf("acquire with a resigned nonce: %v", err)
	}
	next, g2 := acquire(t, b, "g", time.Minute)
	if g2.Token <= g.Token {
		t.Errorf("token %d after %d", g2.Token, g.Token)
	}
	if err := a.Resign(ctx, term); !errors.Is(err, driver.ErrLost) {
		t.Errorf("late resign: %v", err)
	}
	if rec, err := a.Leader(ctx, "g"); err != nil || rec.Nonce != next.Nonce {
		t.Errorf("leader %+v, %v", rec, err)
	}
}

func TestRenewNeverShortens(t *testing.T) {
	x := newTarget(t)
	d := x.driver(t)
	term, _ := acquire(t, d, "g", time.Hour)
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Second}); r.Err != nil || r.Granted != time.Second {
		t.Fatalf("renew: %+v", r)
	}
	rec, err := d.Leader(t.Context(), "g")
	if err != nil || rec.Remaining < 50*time.Minute || rec.TTL != time.Hour {
		t.Fatalf("after a short renewal: %+v, %v", rec, err)
	}
	// The same by an acquire sent again.
	if _, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: term.Nonce, TTL: time.Second}); err != nil {
		t.Fatal(err)
	}
	if rec, _ := d.Leader(t.Context(), "g"); rec.Remaining < 50*time.Minute || rec.TTL != time.Hour {
		t.Fatalf("after a short acquire: %+v", rec)
	}
}

func TestExpiry(t *testing.T) {
	x := newTarget(t)
	d := x.driver(t)
	term, g := acquire(t, d, "g", time.Second)
	eventually(t, "the term expires", func() bool {
		_, err := d.Leader(t.Context(), "g")
		return errors.Is(err, driver.ErrNoLeader)
	})
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Second}); !errors.Is(r.Err, driver.ErrLost) {
		t.Errorf("renew after expiry: %+v", r)
	}
	if err := d.Resign(t.Context(), term); !errors.Is(err, driver.ErrLost) {
		t.Errorf("resign after expiry: %v", err)
	}
	g2, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: term.Nonce, TTL: time.Second})
	if err != nil || g2.Token <= g.Token {
		t.Errorf("same nonce after expiry: %+v, %v; was token %d", g2, err, g.Token)
	}
}

func TestManyCandidatesOneWinner(t *testing.T) {
	x := newTarget(t)
	drivers := []driver.Driver{x.driver(t), x.driver(t), x.driver(t), x.driver(t)}
	for round := range 5 {
		group := fmt.Sprintf("g%d", round)
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := 0
		for i := range 40 {
			wg.Go(func() {
				req := driver.AcquireRequest{Group: group, Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute}
				for {
					_, err := drivers[i%len(drivers)].Acquire(t.Context(), req)
					var held *driver.HeldError
					switch {
					case err == nil:
						mu.Lock()
						won++
						mu.Unlock()
					case errors.Is(err, driver.ErrNotApplied):
						continue
					case !errors.As(err, &held):
						t.Errorf("acquire: %v", err)
					}
					return
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Fatalf("%d winners", won)
		}
	}
}

func TestTokensIncrease(t *testing.T) {
	x := newTarget(t)
	a, b := x.driver(t), x.driver(t)
	last := uint64(0)
	for i := range 50 {
		d := a
		if i%2 == 1 {
			d = b
		}
		term, g := acquire(t, d, "g", time.Minute)
		if g.Token <= last {
			t.Fatalf("token %d after %d", g.Token, last)
		}
		last = g.Token
		if err := d.Resign(t.Context(), term); err != nil {
			t.Fatal(err)
		}
	}
	x.exec(t, "UPDATE {table} SET token = @token WHERE grp = @grp", sql.Named("token", int64(1<<53)), sql.Named("grp", "g"))
	if _, g := acquire(t, a, "g", time.Minute); g.Token != 1<<53+1 {
		t.Errorf("token %d after 2^53", g.Token)
	}
}

func TestBatch(t *testing.T) {
	x := newTarget(t)
	d, other := x.driver(t), x.driver(t)
	const n = 300
	reqs := make([]driver.RenewRequest, 0, n+4)
	for i := range n {
		term, _ := acquire(t, d, fmt.Sprintf("g%03d", i), time.Minute)
		reqs = append(reqs, driver.RenewRequest{Term: term, TTL: time.Hour, Metadata: map[string]string{"i": fmt.Sprint(i)}})
	}
	lost := 7
	if err := d.Resign(t.Context(), reqs[lost].Term); err != nil {
		t.Fatal(err)
	}
	acquire(t, other, reqs[lost].Term.Group, time.Minute)
	unknown := len(reqs)
	reqs = append(reqs, driver.RenewRequest{Term: driver.Term{Group: "never-seen", Nonce: driver.NewNonce()}, TTL: time.Minute})
	// A term twice, with another lifetime.
	reqs = append(reqs, driver.RenewRequest{Term: reqs[3].Term, TTL: 2 * time.Hour})
	locked := 11
	unlock := x.lockRow(t, reqs[locked].Term.Group)

	check := func(lockedNow bool) {
		t.Helper()
		results := make(map[int]driver.RenewResult)
		d.Renew(t.Context(), reqs, func(r driver.RenewResult) {
			if _, twice := results[r.Index]; twice {
				t.Errorf("%d reported twice", r.Index)
			}
			results[r.Index] = r
		})
		for i := range reqs {
			r, ok := results[i]
			switch {
			case i == locked && lockedNow:
				if ok && (r.Err == nil || errors.Is(r.Err, driver.ErrLost)) {
					t.Errorf("locked: %+v", r)
				}
			case i == lost || i == unknown:
				if !errors.Is(r.Err, driver.ErrLost) {
					t.Errorf("lost %d: %+v", i, r)
				}
			case !ok || r.Err != nil || r.Granted != reqs[i].TTL:
				t.Errorf("%d: %+v, reported %v", i, r, ok)
			}
		}
	}
	check(true)
	unlock()
	check(false)

	groups := make([]string, 0, len(reqs))
	for _, r := range reqs[:n] {
		groups = append(groups, r.Term.Group)
	}
	unlock = x.lockRow(t, groups[locked])
	defer unlock()
	seen := make(map[string]error)
	d.(driver.BatchReader).Leaders(t.Context(), append(groups, "never-seen"), func(g string, rec driver.Record, err error) {
		seen[g] = err
		if err == nil && g != reqs[lost].Term.Group && (rec.Group != g || rec.Remaining < 50*time.Minute || len(rec.Metadata) != 1) {
			t.Errorf("%s: %+v", g, rec)
		}
	})
	for i, g := range groups {
		if err, ok := seen[g]; i != locked && (!ok || err != nil) || errors.Is(err, driver.ErrNoLeader) {
			t.Errorf("%s: reported %v, %v", g, ok, err)
		}
	}
	if !errors.Is(seen["never-seen"], driver.ErrNoLeader) {
		t.Errorf("never-seen: %v", seen["never-seen"])
	}
}

func TestLockedRowDelaysNobodyForLong(t *testing.T) {
	x := newTarget(t)
	d := x.driver(t)
	term, _ := acquire(t, d, "g", time.Minute)
	unlock := x.lockRow(t, "g")
	start := time.Now()
	_, err := d.Acquire(t.Context(), driver.AcquireRequest{Group: "g", Participant: "p", Nonce: driver.NewNonce(), TTL: time.Minute})
	var held *driver.HeldError
	if !errors.As(err, &held) && !errors.Is(err, driver.ErrNotApplied) {
		t.Errorf("acquire of a locked row: %v", err)
	}
	if r := renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute}); r.Err == nil || errors.Is(r.Err, driver.ErrLost) {
		t.Errorf("renew of a locked row: %+v", r)
	}
	if err := d.Resign(t.Context(), term); err == nil || errors.Is(err, driver.ErrLost) {
		t.Errorf("resign of a locked row: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("three requests waited %v for a lock", took)
	}
	unlock()
	if err := d.Resign(t.Context(), term); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	x := newTarget(t)
	d := x.driver(t)
	names := []string{"a", "A", "a.", "a-", "a_", "a.b", "a..b", strings.Repeat("x", 255), strings.Repeat("x", 254) + "X"}
	for _, n := range names {
		acquire(t, d, n, time.Minute)
	}
}

func TestAcquireWithoutMetadataIsOneRequest(t *testing.T) {
	x := newStandInOnly(t)
	d := x.driver(t, func(o *sqlserver.Options) { o.MaxDoorbells = -1 })
	term, _ := acquire(t, d, "warm", time.Minute)
	before := x.server.Counts()
	term2, _ := acquire(t, d, "g", time.Minute)
	renewOne(t.Context(), d, driver.RenewRequest{Term: term2, TTL: time.Minute})
	renewOne(t.Context(), d, driver.RenewRequest{Term: term, TTL: time.Minute})
	if err := d.Resign(t.Context(), term2); err != nil {
		t.Fatal(err)
	}
	after := x.server.Counts()
	total := 0
	for name, n := range after {
		if name != "login" {
			total += n - before[name]
		}
	}
	if total != 4 || after["acquire"]-before["acquire"] != 1 || after["renew"]-before["renew"] != 2 || after["resign"] != 1 {
		t.Errorf("requests: %v, before %v", after, before)
	}
}
