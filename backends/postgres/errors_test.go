package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/multilock/multilock-go/core/driver"
)

func testStore(t *testing.T, o Options) *store {
	t.Helper()
	s := newStore(o.withDefaults())
	t.Cleanup(s.cancel)
	return s
}

func TestErrorsOfStatements(t *testing.T) {
	const (
		misconfigured = "misconfigured"
		notApplied    = "not applied"
		uncertain     = "uncertain"
	)
	for code, want := range map[string]string{
		"40001": notApplied, "40P01": notApplied, "55P03": notApplied, "57014": notApplied, "53200": notApplied,
		"42501": misconfigured, "42703": misconfigured, "42P10": misconfigured, "23502": misconfigured, "22P05": misconfigured,
		"42P01": notApplied, // it is created anew
	} {
		s := testStore(t, Options{})
		err := s.judge(context.Background(), nil, &pgconn.PgError{Code: code, Severity: "ERROR", Message: "m"})
		if got := kind(err); got != want {
			t.Errorf("%s is %s, want %s", code, got, want)
		}
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != code {
			t.Errorf("%s: the server's error is lost", code)
		}
	}
	s := testStore(t, Options{NoAutoCreate: true})
	if err := s.judge(context.Background(), nil, &pgconn.PgError{Code: "42P01", Severity: "ERROR"}); kind(err) != misconfigured {
		t.Errorf("a missing table that may not be created: %v", err)
	}
	// A server that speaks German.
	if err := s.judge(context.Background(), nil, &pgconn.PgError{Code: "40001", Severity: "FEHLER", SeverityUnlocalized: "ERROR"}); kind(err) != notApplied {
		t.Errorf("an error in German: %v", err)
	}
	// What ended the session may have been executed.
	if err := s.judge(context.Background(), nil, &pgconn.PgError{Code: "XX000", Severity: "FATAL"}); kind(err) != uncertain {
		t.Errorf("a fatal error: %v", err)
	}
	if err := s.judge(context.Background(), nil, io.ErrUnexpectedEOF); kind(err) != uncertain {
		t.Errorf("a broken connection: %v", err)
	}
}

func TestErrorsOfConnecting(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&pgconn.PgError{Code: "28P01"}, "misconfigured"},
		{&pgconn.PgError{Code: "3D000"}, "misconfigured"},
		{&pgconn.PgError{Code: "57P03", Message: "the database system is starting up"}, "not applied"},
		{&pgconn.PgError{Code: "53300"}, "not applied"},
		{&pgconn.PgError{Code: "08P01", Message: "server login has been failing, try again later (server_login_retry)"}, "not applied"},
		{&pgconn.PgError{Code: "08P01", Message: "no such user: x"}, "misconfigured"},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, "not applied"},
	} {
		err := testStore(t, Options{}).connectError(context.Background(), c.err)
		if got := kind(err); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
	}
}

func kind(err error) string {
	var held *driver.HeldError
	switch {
	case errors.Is(err, driver.ErrMisconfigured):
		return "misconfigured"
	case errors.Is(err, driver.ErrNotApplied):
		return "not applied"
	case errors.As(err, &held), errors.Is(err, driver.ErrLost), errors.Is(err, driver.ErrNoLeader), errors.Is(err, driver.ErrResigned):
		return "certain"
	}
	return "uncertain"
}

func TestOldServersAreRefused(t *testing.T) {
	for version, old := range map[string]bool{
		"11.22": true, "9.6.24": true, "11.22 (Debian 11.22-1.pgdg120+1)": true,
		"12.0": false, "15.18 (Debian 15.18-0+deb12u1)": false, "18beta1": false, "": false, "a pooler": false,
	} {
		err := checkVersion(version)
		if refused := errors.Is(err, driver.ErrMisconfigured); refused != old || err != nil && !strings.Contains(err.Error(), "12 or later") {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// Names are quoted wherever they come up, and cannot end a comment.
func TestNamesAreQuoted(t *testing.T) {
	schema, table := "a\"b", "c\n; DROP TABLE x; --"
	name := pgx.Identifier{schema, table}.Sanitize()
	s := newStatements(name)
	for _, text := range []string{s.take, s.acquireOne, s.acquire, s.insert, s.clamp, s.renew, s.resign, s.leaders, DDL(schema, table)} {
		if !strings.Contains(text, name) || strings.Contains(text, "@table") || strings.Contains(text, schemaName) {
			t.Errorf("the name is not put in: %s", text)
		}
		for line := range strings.Lines(text) {
			if comment := strings.Index(line, "--"); comment >= 0 && strings.Contains(line[comment:], `"a""b"`) {
				t.Errorf("the name is in a comment: %s", line)
			}
		}
	}
	if !strings.Contains(schemaSQL, schemaName) {
		t.Errorf("schema.sql does not name %s", schemaName)
	}
	if channel("a", "bc") == channel("ab", "c") || len(channel(strings.Repeat("x", 63), strings.Repeat("y", 63))) > 63 {
		t.Error("channels collide or are too long")
	}
}

func TestTargetTellsNoSecret(t *testing.T) {
	const secret = "s3cr3t-1b"
	for _, text := range []string{"postgres://u:" + secret + "@h:5433/db", "host=h port=5433 user=u dbname=db password=" + secret} {
		_, info, err := NewDriver(Options{ConnString: text})
		if err != nil {
			t.Fatal(err)
		}
		if want := "h:5433/db public.leader_election"; info.Target != want {
			t.Errorf("target %q, want %q", info.Target, want)
		}
		if all := fmt.Sprint(info, Options{ConnString: text}); strings.Contains(all, secret) {
			t.Errorf("the password is told: %s", all)
		}
	}
}

func TestNamesOfManyBytesAreRefused(t *testing.T) {
	long := strings.Repeat("ä", 32)
	if err := (Options{ConnString: "host=h", Schema: long, Table: long}).Validate(); err == nil || strings.Count(err.Error(), "63 bytes") != 2 {
		t.Errorf("64 bytes: %v", err)
	}
	if err := (Options{ConnString: "host=h", Table: long[:62]}).Validate(); err != nil {
		t.Errorf("62 bytes: %v", err)
	}
}

// Rows that somebody else has written are read as far as possible.
func TestForeignRecord(t *testing.T) {
	text := func(s string) *string { return &s }
	number := func(n int64) *int64 { return &n }
	r := recordRow{metadata: text(`["x"]`), token: number(-3), nonce: text("not a nonce"), ttl: number(1_500_000), remaining: number(-7)}
	rec := r.record("g")
	if rec.Group != "g" || rec.Token != 0 || !rec.Nonce.IsZero() || len(rec.Metadata) != 0 || rec.TTL.Seconds() != 1.5 || rec.Remaining != 0 {
		t.Errorf("%+v", rec)
	}
	if rec := new(recordRow).record("g"); rec.Remaining != driver.RemainingUnknown {
		t.Errorf("an empty row: %+v", rec)
	}
}

// A row that somebody else wrote is read as far as it can be.
func FuzzRecord(f *testing.F) {
	f.Add(int64(7), "8f14e45f-ceea-467f-a0e6-3a4d9b1e2c5d", `{"a":"b"}`, int64(1), int64(2), int64(3))
	f.Add(int64(-1), "x", "[", int64(-1), int64(-1), int64(-1))
	f.Fuzz(func(t *testing.T, token int64, nonce, metadata string, acquired, ttl, remaining int64) {
		r := recordRow{token: &token, nonce: &nonce, metadata: &metadata, acquired: &acquired, ttl: &ttl, remaining: &remaining}
		rec := r.record("g")
		if rec.Group != "g" || rec.Remaining < 0 || token < 0 && rec.Token != 0 {
			t.Errorf("%+v", rec)
		}
	})
}
