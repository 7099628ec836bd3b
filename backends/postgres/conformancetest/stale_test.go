package conformancetest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/multilock/multilock-go/backends/postgres/internal/seam"
	"github.com/multilock/multilock-go/core/driver"
)

// A transaction begins when its first message is there. If the statement itself is
// late, because the network or the server was, another connection may have renewed
// the term meanwhile: what comes late must not shorten it.
func TestStatementThatIsLateDoesNotShorten(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second
	for name, late := range map[string]func(tx pgx.Tx, s seam.Statements, term driver.Term) error{
		"renewal": func(tx pgx.Tx, s seam.Statements, term driver.Term) error {
			return run(tx, s.Renew, []string{term.Group}, []string{term.Nonce.String()}, []int64{ttl.Microseconds()}, []*string{nil})
		},
		"acquire sent again": func(tx pgx.Tx, s seam.Statements, term driver.Term) error {
			return run(tx, s.Acquire, []string{term.Group}, []string{term.Nonce.String()}, []string{term.Participant}, []int64{ttl.Microseconds()}, []string{"{}"})
		},
		"challenger's clamp": func(tx pgx.Tx, s seam.Statements, term driver.Term) error {
			return run(tx, s.Clamp, []string{term.Group})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			req := request("g")
			req.TTL = ttl
			term := w.term(req)
			tx, err := w.admin.Begin(t.Context())
			must(t, err)
			defer tx.Rollback(context.Background())
			_, err = tx.Exec(t.Context(), "SELECT now(), pg_sleep(1)") // a quarter of the TTL
			must(t, err)
			if r := renew(t.Context(), w.d, ttl, term)[0]; r.Err != nil || r.Granted != ttl {
				t.Fatalf("renewal meanwhile: %+v", r)
			}
			expiry := func() (at time.Time) {
				must(t, tx.QueryRow(t.Context(), "SELECT expires_at FROM "+w.table+" WHERE group_name = 'g'").Scan(&at))
				return at
			}
			before := expiry()
			must(t, late(tx, seam.StatementsOf(w.table), term))
			if after := expiry(); after.Before(before) {
				t.Errorf("the expiry was moved back by %v", before.Sub(after))
			}
			must(t, tx.Commit(t.Context()))
		})
	}
}

func run(tx pgx.Tx, sql string, args ...any) error {
	_, err := tx.Exec(context.Background(), sql, args...)
	return err
}
