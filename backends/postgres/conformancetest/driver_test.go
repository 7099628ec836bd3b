package conformancetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/core/driver"
)

func request(group string) driver.AcquireRequest {
	return driver.AcquireRequest{Group: group, Participant: "p", Nonce: driver.NewNonce(), TTL: 10 * time.Second}
}

func (w *world) term(req driver.AcquireRequest) driver.Term {
	w.t.Helper()
	g, err := w.d.Acquire(w.t.Context(), req)
	if err != nil {
		w.t.Fatalf("acquire %s: %v", req.Group, err)
	}
	return driver.Term{Group: req.Group, Participant: req.Participant, Nonce: req.Nonce, Token: g.Token}
}

// renew renews in one batch and returns the results in the order of the terms.
func renew(ctx context.Context, d driver.Driver, ttl time.Duration, terms ...driver.Term) []driver.RenewResult {
	reqs := make([]driver.RenewRequest, len(terms))
	out := make([]driver.RenewResult, len(terms))
	for i, t := range terms {
		reqs[i] = driver.RenewRequest{Term: t, TTL: ttl}
		out[i].Err = errors.New("unreported")
	}
	var mu sync.Mutex
	d.Renew(ctx, reqs, func(r driver.RenewResult) {
		mu.Lock()
		defer mu.Unlock()
		out[r.Index] = r
	})
	return out
}

// world is a driver on a table of its own, and a second connection to look at it.
type world struct {
	t     *testing.T
	o     postgres.Options
	d     driver.Driver
	table string
	admin *pgx.Conn
}

func newWorld(t *testing.T) *world {
	t.Helper()
	o := options(t)
	w := &world{t: t, o: o, d: open(t, o), table: quoted(o)}
	w.admin = admin(t, o.ConnString)
	t.Cleanup(func() { w.admin.Close(context.Background()) })
	return w
}

func (w *world) value(dest any, sql string, args ...any) {
	w.t.Helper()
	must(w.t, w.admin.QueryRow(w.t.Context(), sql, args...).Scan(dest))
}

// lock holds a group's row as a user's transaction would.
func (w *world) lock(group string) (unlock func()) {
	w.t.Helper()
	tx, err := w.admin.Begin(w.t.Context())
	must(w.t, err)
	_, err = tx.Exec(w.t.Context(), "SELECT 1 FROM "+w.table+" WHERE group_name = $1 FOR UPDATE", group)
	must(w.t, err)
	return sync.OnceFunc(func() { _ = tx.Rollback(context.Background()) })
}

func TestOneTermAfterAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	first := request("g")
	first.Metadata = map[string]string{"a": "1"}
	a := w.term(first)
	rec, err := w.d.Leader(ctx, "g")
	if err != nil || rec.Term != a || rec.Metadata["a"] != "1" || rec.TTL != first.TTL || rec.Remaining <= 0 || rec.Remaining > rec.TTL {
		t.Fatalf("leader: %+v, %v", rec, err)
	}
	if off := time.Since(rec.AcquiredAt); off > time.Minute || off < -time.Minute {
		t.Errorf("acquired at %v", rec.AcquiredAt)
	}
	var held *driver.HeldError
	if _, err := w.d.Acquire(ctx, request("g")); !errors.As(err, &held) || held.Record.Term != a || held.Record.Remaining <= 0 {
		t.Fatalf("a second attempt: %v", err)
	}
	again, err := w.d.Acquire(ctx, first)
	if err != nil || again.Token != a.Token || again.Granted != first.TTL || !again.AcquiredAt.Equal(rec.AcquiredAt) {
		t.Fatalf("the same attempt again: %+v, %v", again, err)
	}
	if r := renew(ctx, w.d, first.TTL, a)[0]; r.Err != nil || r.Granted != first.TTL {
		t.Fatalf("renew: %+v", r)
	}
	if err := w.d.Resign(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := w.d.Resign(ctx, a); !errors.Is(err, driver.ErrLost) {
		t.Errorf("a second resign: %v", err)
	}
	if _, err := w.d.Acquire(ctx, first); !errors.Is(err, driver.ErrResigned) {
		t.Errorf("a duplicate of the resigned attempt: %v", err)
	}
	if r := renew(ctx, w.d, first.TTL, a)[0]; !errors.Is(r.Err, driver.ErrLost) {
		t.Errorf("renewing a resigned term: %v", r.Err)
	}
	if _, err := w.d.Leader(ctx, "g"); !errors.Is(err, driver.ErrNoLeader) {
		t.Errorf("leader after resign: %v", err)
	}
	if b := w.term(request("g")); b.Token <= a.Token {
		t.Errorf("token %d after %d", b.Token, a.Token)
	}
}

func TestTokenFollowsTheClockAndTheRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.term(request("g"))
	if now := uint64(time.Now().UnixMicro()); a.Token > now+60e6 || a.Token < now-60e6 {
		t.Errorf("token %d at %d", a.Token, now)
	}
	ahead := int64(1) << 60
	must(t, exec(w.admin, "UPDATE "+w.table+" SET token = $1, expires_at = '-infinity'", ahead))
	if b := w.term(request("g")); b.Token != uint64(ahead)+1 {
		t.Errorf("token %d after %d", b.Token, ahead)
	}
}

// A row locked for longer than the TTL: its own answer is "not now", the others
// of the batch are renewed at once, and nothing that waited is executed later.
func TestLockedRowDelaysNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	var terms []driver.Term
	for i := range 100 {
		terms = append(terms, w.term(request("g"+string(rune('A'+i%26))+string(rune('A'+i/26)))))
	}
	locked := 57
	unlock := w.lock(terms[locked].Group)
	defer unlock()
	start := time.Now()
	ttl := time.Second // shorter than what is left: nothing may become shorter
	for i, r := range renew(ctx, w.d, ttl, terms...) {
		switch {
		case i == locked && (r.Err == nil || errors.Is(r.Err, driver.ErrLost)):
			t.Errorf("the locked term: %v", r.Err)
		case i != locked && (r.Err != nil || r.Granted != ttl):
			t.Errorf("term %d: %+v", i, r)
		}
	}
	if err := w.d.Resign(ctx, terms[locked]); !errors.Is(err, driver.ErrNotApplied) {
		t.Errorf("resigning the locked term: %v", err)
	}
	var held *driver.HeldError
	if _, err := w.d.Acquire(ctx, request(terms[locked].Group)); !errors.As(err, &held) {
		t.Errorf("acquiring the locked group: %v", err)
	}
	own := request(terms[locked].Group)
	own.Nonce = terms[locked].Nonce
	if _, err := w.d.Acquire(ctx, own); err == nil || errors.Is(err, driver.ErrNotApplied) || errors.As(err, &held) {
		t.Errorf("repeating the attempt that won the locked group has an uncertain answer, got %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("somebody's lock was waited for: %v", took)
	}
	must(t, exec2(w, "UPDATE "+w.table+" SET expires_at = clock_timestamp() - interval '1 second' WHERE group_name = $1", terms[locked].Group))
	if _, err := w.d.Acquire(ctx, request(terms[locked].Group)); err == nil {
		t.Error("a locked row was taken")
	}
	unlock()
	var nonces int
	w.value(&nonces, "SELECT count(DISTINCT nonce) FROM "+w.table)
	if nonces != len(terms) {
		t.Errorf("%d nonces of %d terms", nonces, len(terms))
	}
}

// exec2 runs a statement inside the transaction that holds the lock.
func exec2(w *world, sql string, args ...any) error {
	_, err := w.admin.Exec(context.Background(), sql, args...)
	return err
}

func TestRenewNeverShortens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := request("g")
	req.TTL = time.Hour
	a := w.term(req)
	if r := renew(t.Context(), w.d, time.Second, a)[0]; r.Err != nil || r.Granted != time.Second {
		t.Fatalf("renew: %+v", r)
	}
	rec, err := w.d.Leader(t.Context(), "g")
	if err != nil || rec.Remaining < 59*time.Minute || rec.TTL != time.Hour {
		t.Fatalf("a short renewal left %v of %v, %v", rec.Remaining, rec.TTL, err)
	}
	longer := 2 * time.Hour
	renew(t.Context(), w.d, longer, a)
	if rec, err = w.d.Leader(t.Context(), "g"); err != nil || rec.Remaining < longer-time.Minute || rec.TTL != longer {
		t.Fatalf("a long renewal left %v of %v, %v", rec.Remaining, rec.TTL, err)
	}
}

func TestTableLockIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.term(request("g"))
	renew(t.Context(), w.d, time.Hour, a) // the statement is prepared
	w.whileLocked(w.table, func() {
		if r := renew(t.Context(), w.d, time.Hour, a)[0]; !errors.Is(r.Err, driver.ErrNotApplied) {
			t.Errorf("renew of a locked table: %v", r.Err)
		}
		if _, err := w.d.Acquire(t.Context(), request("g")); !errors.Is(err, driver.ErrNotApplied) {
			t.Errorf("acquire in a locked table: %v", err)
		}
	})
}

// whileLocked calls f while another transaction has locked the whole table, which f
// must not wait for.
func (w *world) whileLocked(table string, f func()) {
	w.t.Helper()
	tx, err := w.admin.Begin(w.t.Context())
	must(w.t, err)
	defer tx.Rollback(context.Background())
	_, err = tx.Exec(w.t.Context(), "LOCK TABLE "+table+" IN ACCESS EXCLUSIVE MODE")
	must(w.t, err)
	start := time.Now()
	f()
	if took := time.Since(start); took > 5*time.Second {
		w.t.Errorf("the lock of the table was waited for: %v", took)
	}
}

// Overlapping batches of two processes, in opposite orders, over and over.
func TestOverlappingBatchesDoNotDeadlock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := open(t, w.o)
	var terms []driver.Term
	for i := range 50 {
		terms = append(terms, w.term(request("g"+string(rune('A'+i)))))
	}
	reversed := make([]driver.Term, len(terms))
	for i, term := range terms {
		reversed[len(terms)-1-i] = term
	}
	var deadlocks int64
	w.value(&deadlocks, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
	var wg sync.WaitGroup
	renewed := make([][]int, 2)
	for side, list := range [][]driver.Term{terms, reversed} {
		d := []driver.Driver{w.d, other}[side]
		renewed[side] = make([]int, len(list))
		wg.Go(func() {
			for range 50 {
				for i, r := range renew(t.Context(), d, 10*time.Second, list...) {
					switch {
					case r.Err == nil:
						renewed[side][i]++
					case !errors.Is(r.Err, driver.ErrNotApplied):
						t.Errorf("term %d: %v", i, r.Err)
					}
				}
			}
		})
	}
	wg.Wait()
	for side := range renewed {
		for i, n := range renewed[side] {
			if n == 0 {
				t.Errorf("side %d: term %d was never renewed", side, i)
			}
		}
	}
	var after int64
	w.value(&after, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
	if after != deadlocks {
		t.Errorf("%d deadlocks", after-deadlocks)
	}
}

func TestExpiryInTheFarFutureIsClamped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	for _, far := range []string{"clock_timestamp() + interval '1 hour'", "'infinity'"} {
		group := map[bool]string{true: "infinite", false: "hour"}[far == "'infinity'"]
		a := w.term(request(group))
		must(t, exec(w.admin, "UPDATE "+w.table+" SET expires_at = "+far+" WHERE group_name = $1", group))
		var held *driver.HeldError
		if _, err := w.d.Acquire(ctx, request(group)); !errors.As(err, &held) || held.Record.Remaining > 10*time.Second {
			t.Fatalf("%s: acquire: %v, %+v", far, err, held)
		}
		rec, err := w.d.Leader(ctx, group)
		if err != nil || rec.Remaining > 10*time.Second {
			t.Fatalf("%s: leader: %+v, %v", far, rec, err)
		}
		var left float64
		w.value(&left, "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM "+w.table+" WHERE group_name = $1", group)
		if left > 10 || left < 1 {
			t.Errorf("%s: %v s are left in the row", far, left)
		}
		must(t, exec(w.admin, "UPDATE "+w.table+" SET expires_at = "+far+" WHERE group_name = $1", group))
		if r := renew(ctx, w.d, 10*time.Second, a)[0]; r.Err != nil || r.Granted != 10*time.Second {
			t.Errorf("%s: renew: %+v", far, r)
		}
		w.value(&left, "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM "+w.table+" WHERE group_name = $1", group)
		if left > 10 {
			t.Errorf("%s: %v s are left in the row after a renewal", far, left)
		}
	}
}

func TestBatchOfAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.d.(driver.BatchAcquirer)
	taken := w.term(request("taken"))
	resigned := request("resigned")
	must(t, w.d.Resign(t.Context(), w.term(resigned)))
	reqs := []driver.AcquireRequest{request("new"), request("taken"), request("new"), resigned, request("other")}
	type answer struct {
		g   driver.Grant
		err error
	}
	got := make([][]answer, len(reqs))
	b.AcquireBatch(t.Context(), reqs, func(i int, g driver.Grant, err error) { got[i] = append(got[i], answer{g, err}) })
	for i := range got {
		if len(got[i]) != 1 {
			t.Fatalf("attempt %d has %d answers", i, len(got[i]))
		}
	}
	var held *driver.HeldError
	if got[0][0].err != nil || got[4][0].err != nil {
		t.Errorf("free groups: %v, %v", got[0][0].err, got[4][0].err)
	}
	if !errors.As(got[1][0].err, &held) || held.Record.Term != taken {
		t.Errorf("a held group: %v", got[1][0].err)
	}
	if !errors.As(got[2][0].err, &held) || held.Record.Nonce != reqs[0].Nonce {
		t.Errorf("the second attempt for a group: %v", got[2][0].err)
	}
	if !errors.Is(got[3][0].err, driver.ErrResigned) {
		t.Errorf("a resigned nonce: %v", got[3][0].err)
	}
}
