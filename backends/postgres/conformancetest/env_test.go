package conformancetest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/core/driver"
	server "github.com/multilock/multilock-go/testservers/postgres"
	"github.com/multilock/multilock-go/testservers/proc"
)

// The servers that most tests share. They are started by the first that asks and
// end with the test process.
var scope proc.Scope

func TestMain(m *testing.M) {
	if url := os.Getenv(leadEnv); url != "" {
		lead(url)
	}
	conformance.Main(m, postgres.OpenURL, scope.Close)
}

var shared = sync.OnceValue(func() *server.Server {
	s := server.Start(&scope, server.Options{
		Faketime: true,
		Settings: []string{"shared_preload_libraries = 'pg_stat_statements'", "pg_stat_statements.max = 20000"},
	})
	conn := admin(&scope, s.URL(server.User, server.Password, server.Database))
	defer conn.Close(context.Background())
	must(&scope, exec(conn, "CREATE EXTENSION pg_stat_statements"))
	return s
})

var bouncer = sync.OnceValue(func() *server.Bouncer {
	return server.StartBouncer(&scope, shared(), "transaction", "default_pool_size = 60", "server_login_retry = 1")
})

// tb is what *testing.T, the kit's TB and proc.Scope have in common.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(f func())
}

// serverURL is the server that tests share, or another that the environment
// names.
func serverURL() (text string, ours bool) {
	if u := os.Getenv("MULTILOCK_TEST_POSTGRES_URL"); u != "" {
		return u, false
	}
	return shared().URL(server.User, server.Password, server.Database), true
}

var tables atomic.Int64

// tableName is a name that no other test uses.
func tableName() string {
	return fmt.Sprintf("Group's \"table\" %d-%d", os.Getpid(), tables.Add(1))
}

// with adds our parameters to a URL.
func with(base string, pairs ...string) string {
	u, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
}

// at is base with another address.
func at(base, addr string) string {
	u, err := url.Parse(base)
	if err != nil {
		panic(err)
	}
	u.Host = addr
	return u.String()
}

func must(tb tb, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("%v", err)
	}
}

func exec(conn *pgx.Conn, sql string, args ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_, err := conn.Exec(ctx, sql, args...)
	return err
}

// admin connects as the owner of the server.
func admin(tb tb, url string) *pgx.Conn {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	must(tb, err)
	return conn
}

// sql runs one statement as the owner of the server.
func sql(tb tb, url, text string, args ...any) {
	tb.Helper()
	conn := admin(tb, url)
	defer conn.Close(context.Background())
	must(tb, exec(conn, text, args...))
}

// open opens a driver until the test ends.
func open(tb tb, o postgres.Options) driver.Driver {
	tb.Helper()
	d, _, err := postgres.NewDriver(o)
	must(tb, err)
	tb.Cleanup(func() { _ = d.Close() })
	return d
}

// options is a fresh table on the shared server.
func options(tb tb) postgres.Options {
	tb.Helper()
	u, _ := serverURL()
	o := postgres.Options{ConnString: u, Table: tableName()}
	tb.Cleanup(func() { sql(tb, u, "DROP TABLE IF EXISTS "+quoted(o)) })
	return o
}

func quoted(o postgres.Options) string {
	if o.Schema == "" {
		o.Schema = "public"
	}
	return pgx.Identifier{o.Schema, o.Table}.Sanitize()
}
