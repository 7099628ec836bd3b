package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/multilock/multilock-go/core/driver"
)

// errLocked says that somebody holds the row.
var errLocked = errors.New("the group's row is locked by another transaction")

// notApplied marks an error as the certain answer that nothing changed.
func notApplied(err error) error { return fmt.Errorf("%w: %w", driver.ErrNotApplied, err) }

// minVersion is the oldest server whose statements are ours.
const minVersion = 12

// checkVersion judges what the server, or the pooler before it, said of itself
// when the connection was made. One that tells nothing of the kind is tried.
func checkVersion(version string) error {
	digits := 0
	for digits < len(version) && '0' <= version[digits] && version[digits] <= '9' {
		digits++
	}
	major, err := strconv.Atoi(version[:digits])
	if err != nil || major >= minVersion {
		return nil
	}
	return driver.Misconfigured(fmt.Errorf("the server has version %s", version), fmt.Sprintf("use PostgreSQL %d or later", minVersion))
}

// connectError classifies why there is no connection. Nothing was sent.
func (s *store) connectError(ctx context.Context, err error) error {
	switch {
	case s.closed.Load():
		return driver.ErrClosed
	case ctx.Err() != nil:
		return notApplied(ctx.Err())
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "28P01", "28000":
			return driver.Misconfigured(err, "check user and password, and what pg_hba.conf allows")
		case "3D000":
			return driver.Misconfigured(err, "name a database that exists")
		case "42501":
			return driver.Misconfigured(err, "grant CONNECT on the database to the user")
		case "08P01":
			if poolerRefuses(pg.Message) {
				return driver.Misconfigured(err, "check user, password, database and parameters against the pooler's configuration")
			}
		case "42704", "22023":
			return driver.Misconfigured(err, "check the parameters of the connection string")
		}
		return notApplied(err)
	}
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var cert *tls.CertificateVerificationError
	if errors.As(err, &authority) || errors.As(err, &host) || errors.As(err, &cert) || strings.Contains(err.Error(), "server refused TLS connection") {
		return driver.Misconfigured(err, "check sslmode and the certificates of the connection string")
	}
	return notApplied(err)
}

// poolerRefuses tells a configuration that PgBouncer does not accept from a server
// that it cannot reach at the moment: it has one code for everything.
func poolerRefuses(message string) bool {
	for _, words := range []string{"no such user", "no such database", "authentication failed", "unsupported startup parameter", "does not exist"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}

// judge classifies the error of a statement, and drops a connection that is of no
// further use: one to a server that only reads is closed, so that the next finds
// the primary.
func (s *store) judge(ctx context.Context, conn *pgx.Conn, err error) error {
	var pg *pgconn.PgError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, driver.ErrMisconfigured), errors.Is(err, driver.ErrNotApplied):
		return err
	case !errors.As(err, &pg):
		if s.closed.Load() {
			return driver.ErrClosed
		}
		if pgconn.SafeToRetry(err) && ctx.Err() == nil {
			return notApplied(err)
		}
		return err
	}
	switch pg.Code {
	case "25006", "57P01", "57P02", "57P03":
		s.drop(conn)
	}
	if hint := s.hint(pg.Code); hint != "" {
		s.ready.Store(false)
		return driver.Misconfigured(err, hint)
	}
	if pg.Code == "25006" {
		s.ready.Store(false) // this is another server than before: look again
	}
	// Severity is in the language of the server; a pooler gives nothing else.
	if cmp.Or(pg.SeverityUnlocalized, pg.Severity) == "ERROR" {
		return notApplied(err) // the transaction is rolled back
	}
	return err
}

// hint says what to change if an error does not go away by itself.
func (s *store) hint(code string) string {
	const shape = "the table has another shape than schema.sql gives it; name another table, or create this one anew"
	switch code {
	case "42501":
		return "grant USAGE on the schema and SELECT, INSERT and UPDATE on " + s.table + "; to create it the role needs CREATE on the schema, or else run schema.sql beforehand"
	case "42P01", "3F000":
		if s.o.NoAutoCreate {
			return "create the table with schema.sql, or leave out NoAutoCreate"
		}
	case "42703", "42804", "42846", "42883", "42809", "42P10", "42P17", "22P02", "22003", "22001", "22007", "22008", "23502", "23514", "23503", "0A000", "428C9":
		return shape
	case "22021", "22P05":
		return "use a database with the encoding UTF8"
	case "26000", "42P05":
		return "prepared statements fail behind a pooler; set default_query_exec_mode=exec"
	}
	return ""
}

// drop closes a connection, and those that wait in the same pool if it is ours.
func (s *store) drop(conn *pgx.Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // do not wait for a farewell
	_ = conn.Close(ctx)
	if s.owned {
		s.calls.Reset()
		s.renewals.Reset()
	}
}
