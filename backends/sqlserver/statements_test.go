package sqlserver

import (
	"database/sql"
	"errors"
	"maps"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/multilock/multilock-go/core/driver"
)

// TestStatementsKeepToCommonGround holds the texts to what SQL Server, Azure SQL
// and compatible servers all understand.
func TestStatementsKeepToCommonGround(t *testing.T) {
	entries, err := files.ReadDir("sql")
	if err != nil {
		t.Fatal(err)
	}
	forbidden := regexp.MustCompile(`(?i)\bMERGE\b|\bWAITFOR\b|\bWITH\s*\(\s*(UPDLOCK|HOLDLOCK|READPAST|XLOCK|TABLOCKX|ROWLOCK)|\bNOLOCK\b|SET\s+@\w+\s*=\s*\w+\.\w+\s*,|CREATE OR ALTER|LOCK_TIMEOUT 0\b|--|\{`)
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".sql")
		text := statement(name, "dbo", "T")
		if m := forbidden.FindString(text); m != "" {
			t.Errorf("%s: %q", name, m)
		}
		if strings.Count(text, "BEGIN TRY") != strings.Count(text, "END TRY") || strings.Count(text, "BEGIN CATCH") != strings.Count(text, "END CATCH") {
			t.Errorf("%s: unbalanced blocks", name)
		}
	}
}

func TestNamesAreQuoted(t *testing.T) {
	if got := DDL("s]; DROP TABLE x--", "{t}"); !strings.HasPrefix(got, "CREATE TABLE [s]]; DROP TABLE x--].[{t}] (") {
		t.Error(got)
	}
	if got := DDL("", ""); !strings.HasPrefix(got, "CREATE TABLE [dbo].[LeaderElection] (") {
		t.Error(got)
	}
}

func TestRenewalsOfOneTermAreMerged(t *testing.T) {
	a := driver.Term{Group: "a", Nonce: driver.NewNonce()}
	b := driver.Term{Group: "a", Nonce: driver.NewNonce()}
	batch, err := newRenewals([]driver.RenewRequest{
		{Term: a, TTL: time.Second, Metadata: map[string]string{"x": "1"}},
		{Term: b, TTL: time.Second},
		{Term: a, TTL: 3 * time.Second},
		{Term: a, TTL: 2 * time.Second, Metadata: map[string]string{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(batch) != 2 || len(batch[0].indices) != 3 || batch[0].TTL != 3_000_000 || string(batch[0].Metadata) != "{}" ||
		batch[1].Metadata != nil || batch[1].I != 1 {
		t.Errorf("%+v", batch)
	}
}

func TestMetadataRoundTrip(t *testing.T) {
	for _, m := range []map[string]string{nil, {}, {"a": "b"}, {"": "\x00\u2028<>&\"\\"}} {
		p, err := encodeMetadata(m)
		if err != nil {
			t.Fatal(err)
		}
		s, _ := p.(mssql.NVarCharMax)
		if got := decodeMetadata(sql.NullString{String: string(s), Valid: true}); !maps.Equal(got, m) {
			t.Errorf("%v became %v", m, got)
		}
	}
	if decodeMetadata(sql.NullString{String: "not JSON"}) != nil {
		t.Error("garbage counts as metadata")
	}
}

func FuzzDecodeMetadata(f *testing.F) {
	f.Add(`{"a":"b"}`)
	f.Add(`[1]`)
	f.Fuzz(func(t *testing.T, s string) { decodeMetadata(sql.NullString{String: s}) })
}

func TestClassify(t *testing.T) {
	server := func(numbers ...int32) error {
		e := mssql.Error{}
		for _, n := range numbers {
			e.Number = n
			e.All = append(e.All, mssql.Error{Number: n})
		}
		return e
	}
	cases := []struct {
		err  error
		want error // nil: uncertain, as it is
	}{
		{server(18456), driver.ErrMisconfigured},
		{server(4060, 18456), driver.ErrMisconfigured},
		{server(229), driver.ErrMisconfigured},
		{server(1222), driver.ErrNotApplied},
		{server(1205), driver.ErrNotApplied},
		{server(3960), driver.ErrNotApplied},
		{server(2601), driver.ErrNotApplied},
		{server(3906), driver.ErrNotApplied},
		{server(40501), nil},
		{server(33557097), nil},
		{&net.OpError{Op: "dial", Err: errors.New("refused")}, driver.ErrNotApplied},
		{&net.OpError{Op: "read", Err: errors.New("reset")}, nil},
		{errors.New("TLS Handshake failed: x509: certificate signed by unknown authority"), driver.ErrMisconfigured},
		{driver.ErrLost, driver.ErrLost},
	}
	for _, c := range cases {
		got := classify(c.err)
		for _, s := range []error{driver.ErrMisconfigured, driver.ErrNotApplied, driver.ErrLost} {
			if errors.Is(got, s) != (s == c.want) {
				t.Errorf("%v became %v", c.err, got)
			}
		}
		if _, ok := errors.AsType[mssql.Error](c.err); ok {
			if _, still := errors.AsType[mssql.Error](got); !still {
				t.Errorf("%v: the server's error is hidden", got)
			}
		}
	}
	if classify(nil) != nil {
		t.Error("nil")
	}
}

func TestLockNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, table := range []string{"a", "A"} {
		for _, group := range []string{"g", "G", strings.Repeat("x", 255)} {
			b := &bells{d: &leaseDriver{opts: Options{Schema: "dbo", Table: table}}}
			name := b.resource(group)
			if seen[name] || len(name) > 255 {
				t.Errorf("%q", name)
			}
			seen[name] = true
		}
	}
}
