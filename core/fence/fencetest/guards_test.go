//go:build unix

package fencetest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	_ "github.com/microsoft/go-mssqldb" // the driver "sqlserver" of database/sql
	goredis "github.com/redis/go-redis/v9"

	"github.com/multilock/multilock-go/backends/file"
	filefence "github.com/multilock/multilock-go/backends/file/fence"
	"github.com/multilock/multilock-go/backends/postgres"
	pgfence "github.com/multilock/multilock-go/backends/postgres/fence"
	"github.com/multilock/multilock-go/backends/redis"
	redisfence "github.com/multilock/multilock-go/backends/redis/fence"
	"github.com/multilock/multilock-go/backends/sqlserver"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/fence"
)

// guard is one kind of guard as a candidate's process uses it.
type guard struct {
	open func(ctx context.Context, url string) (*multilock.Backend, error)
	// write writes text to the protected resource under term, without asking the
	// elector whether it leads: as a write that was under way when the process was
	// stopped. A refusal by the resource matches stale.
	write func(ctx context.Context, e *multilock.Elector, c candidate, term multilock.Term, text string) error
	stale error
}

var errRefused = errors.New("412")

var guards = map[string]guard{
	"postgres":  {postgres.OpenURL, writePostgres, pgfence.ErrStale},
	"sqlserver": {sqlserver.OpenURL, writeSQLServer, sqlserver.ErrFenced},
	"redis":     {redis.OpenURL, writeRedis, redisfence.ErrStale},
	"file":      {file.OpenURL, writeFile, filefence.ErrStale},
	"http":      {file.OpenURL, writeHTTP, errRefused},
}

var pgGuard = pgfence.New("public", "resource_fence")

func writePostgres(ctx context.Context, _ *multilock.Elector, c candidate, term multilock.Term, text string) error {
	conn, err := pgx.Connect(ctx, c.URL)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(context.Background())
	if err := pgGuard.Check(ctx, tx, term); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "UPDATE resource SET text = $1", text); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// writeSQLServer only shows its token: the stand-in knows no tables but ours.
func writeSQLServer(ctx context.Context, _ *multilock.Elector, c candidate, term multilock.Term, _ string) error {
	g, err := sqlserver.NewGuard("dbo", c.Resource)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlserver", c.URL)
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := g.Check(ctx, tx, term.Group, term.Token); err != nil {
		return err
	}
	return tx.Commit()
}

var set = redisfence.NewScript("return redis.call('SET', KEYS[1], ARGV[1])")

func writeRedis(ctx context.Context, _ *multilock.Elector, c candidate, term multilock.Term, text string) error {
	o, err := goredis.ParseURL(strings.Split(c.URL, "?")[0])
	if err != nil {
		return err
	}
	client := goredis.NewClient(o)
	defer client.Close()
	return set.Run(ctx, client, "resource:fence", term, []string{"resource"}, text).Err()
}

func writeFile(ctx context.Context, _ *multilock.Elector, c candidate, term multilock.Term, text string) error {
	g, err := filefence.Open(c.Resource + ".fence")
	if err != nil {
		return err
	}
	return g.Do(ctx, term.Token, func() error { return os.WriteFile(c.Resource, []byte(text), 0o600) })
}

// writeHTTP sends through the transport, which refuses on its own side what a
// process that no longer leads wants to send, and then without it.
func writeHTTP(ctx context.Context, e *multilock.Elector, c candidate, term multilock.Term, text string) error {
	request := func() (*http.Request, error) {
		return http.NewRequestWithContext(ctx, http.MethodPut, c.Resource, strings.NewReader(text))
	}
	send := func(client *http.Client, r *http.Request, err error) error {
		if err != nil {
			return err
		}
		w, err := client.Do(r)
		if err != nil {
			return err
		}
		defer w.Body.Close()
		switch w.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusPreconditionFailed:
			return errRefused
		}
		return fmt.Errorf("status %d", w.StatusCode)
	}
	r, err := request()
	err = send(&http.Client{Transport: &fence.Transport{Elector: e}}, r, err)
	if !errors.Is(err, multilock.ErrLost) {
		if errors.Is(err, errRefused) {
			return fmt.Errorf("the transport sent a token that was refused: %v", err)
		}
		return err
	}
	r, err = request()
	if err == nil {
		fence.Set(r.Header, term)
	}
	return send(http.DefaultClient, r, err)
}
