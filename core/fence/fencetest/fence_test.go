//go:build unix

// Package fencetest shows for each guard, with real processes and servers, that the
// write of a leader that slept through its successor's first one is refused.
package fencetest

import (
	"database/sql"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/core/fence"
	pgserver "github.com/multilock/multilock-go/testservers/postgres"
	redisserver "github.com/multilock/multilock-go/testservers/redis"
	"github.com/multilock/multilock-go/testservers/tds"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	s := pgserver.Start(t, pgserver.Options{})
	url := s.URL(pgserver.User, pgserver.Password, pgserver.Database)
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), pgGuard.DDL()+"; CREATE TABLE resource (text text); INSERT INTO resource VALUES ('')")
	must(t, err)
	oldLeader(t, candidate{Guard: "postgres", URL: url}, func() (text string) {
		must(t, conn.QueryRow(t.Context(), "SELECT text FROM resource").Scan(&text))
		return text
	})
}

// TestSQLServer runs on the server that MULTILOCK_TEST_SQLSERVER_URL names, if any.
func TestSQLServer(t *testing.T) {
	t.Parallel()
	url := os.Getenv("MULTILOCK_TEST_SQLSERVER_URL")
	if url == "" {
		s, err := tds.Start(tds.Options{})
		must(t, err)
		t.Cleanup(s.Stop)
		url = s.URL()
	}
	const table = "multilock_fencetest"
	g, err := sqlserver.NewGuard("dbo", table)
	must(t, err)
	db, err := sql.Open("sqlserver", url)
	must(t, err)
	defer db.Close()
	_, err = db.ExecContext(t.Context(), g.DDL())
	must(t, err)
	defer func() {
		if _, err := db.Exec("DROP TABLE [dbo].[" + table + "]"); err != nil {
			t.Error(err)
		}
	}()
	oldLeader(t, candidate{Guard: "sqlserver", URL: url, Resource: table}, nil)
}

func TestRedis(t *testing.T) {
	t.Parallel()
	s := redisserver.Start(t, redisserver.Options{})
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr})
	defer c.Close()
	// A server that has just begun may have lost leases: it is waited for, but not here.
	oldLeader(t, candidate{Guard: "redis", URL: s.URL() + "?multilock.grace=1ms"}, func() string {
		text, err := c.Get(t.Context(), "resource").Result()
		must(t, err)
		return text
	})
}

func TestFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "resource")
	oldLeader(t, candidate{Guard: "file", URL: "file://" + t.TempDir(), Resource: path}, func() string {
		text, err := os.ReadFile(path)
		must(t, err)
		return string(text)
	})
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var content string
	server := httptest.NewServer(fence.Middleware("fenced", fence.NewMemory(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		content = string(text)
	})))
	defer server.Close()
	oldLeader(t, candidate{Guard: "http", URL: "file://" + t.TempDir(), Resource: server.URL}, func() string {
		mu.Lock()
		defer mu.Unlock()
		return content
	})
}
