package conformancetest

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/multilock/multilock-go/testservers/tds"
)

// These tests are about the stand-in itself, through the real SQL driver.

func number(err error) int32 {
	e, _ := errors.AsType[mssql.Error](err)
	return e.Number
}

func TestStandInRefusesWhatItDoesNotKnow(t *testing.T) {
	x := newStandInOnly(t)
	for _, text := range []string{"SELECT 2", "MERGE", "UPDATE [dbo].[LeaderElection] SET token = 0", "WAITFOR DELAY '00:00:01'"} {
		if _, err := x.db.Exec(text); number(err) != 102 {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := x.db.Exec("sp_who"); number(err) == 0 {
		t.Errorf("procedure: %v", err)
	}
	if _, err := x.db.Exec("DELETE FROM [dbo].[nothing]"); number(err) != 208 {
		t.Errorf("missing table: %v", err)
	}
	db, err := sql.Open("sqlserver", strings.Replace(x.url, "encrypt=disable", "encrypt=true", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(); err == nil {
		t.Error("an encrypted connection was accepted")
	}
}

func TestStandInTransactions(t *testing.T) {
	x := newStandInOnly(t)
	d := x.driver(t)
	acquire(t, d, "a", time.Minute)
	acquire(t, d, "b", time.Minute)
	set := x.text("UPDATE {table} SET token = @token WHERE grp = @grp")
	token := func(group string) uint64 {
		rec, err := d.Leader(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		return rec.Token
	}
	before := token("a")
	one, err := x.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Exec(set, sql.Named("token", int64(5)), sql.Named("grp", "a")); err != nil {
		t.Fatal(err)
	}
	// A reader of committed data waits, and gives up after LOCK_TIMEOUT.
	if _, err := d.Leader(t.Context(), "a"); number(err) != 1222 {
		t.Errorf("read of a locked row: %v", err)
	}
	two, err := x.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Exec(set, sql.Named("token", int64(6)), sql.Named("grp", "b")); err != nil {
		t.Fatal(err)
	}
	// Each waits for the other: one of them is the victim and loses everything.
	result := make(chan error, 1)
	go func() {
		_, err := one.Exec(set, sql.Named("token", int64(7)), sql.Named("grp", "b"))
		result <- err
	}()
	_, err2 := two.Exec(set, sql.Named("token", int64(8)), sql.Named("grp", "a"))
	if err2 != nil { // so that the other can go on
		_ = two.Rollback()
	}
	err1 := <-result
	if (number(err1) == 1205) == (number(err2) == 1205) {
		t.Fatalf("deadlock: %v and %v", err1, err2)
	}
	_ = one.Rollback()
	_ = two.Rollback()
	if token("a") != before {
		t.Error("rollback undid nothing")
	}
	three, err := x.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := three.Exec(set, sql.Named("token", int64(9)), sql.Named("grp", "a")); err != nil {
		t.Fatal(err)
	}
	if err := three.Commit(); err != nil {
		t.Fatal(err)
	}
	if token("a") != 9 {
		t.Error("commit did not last")
	}
}

func TestStandInAttentionAndReset(t *testing.T) {
	x := newStandInOnly(t)
	d := x.driver(t)
	acquire(t, d, "g", time.Minute)
	x.db.SetMaxOpenConns(2)
	unlock := x.lockRow(t, "g")
	conn, err := x.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel) // after a deadline the driver drops the connection
	start := time.Now()
	_, err = conn.ExecContext(ctx, x.text("UPDATE {table} SET token = @token WHERE grp = @grp"), sql.Named("token", int64(1)), sql.Named("grp", "g"))
	if !errors.Is(err, context.Canceled) || time.Since(start) > 4*time.Second {
		t.Errorf("cancelled after %v: %v", time.Since(start), err)
	}
	unlock()
	// The connection goes on, and what was cancelled did not happen.
	var status mssql.ReturnStatus
	lock := func(c *sql.Conn, ms int32) error {
		_, err := c.ExecContext(t.Context(), "sp_getapplock", sql.Named("Resource", "r"), sql.Named("LockMode", "Exclusive"),
			sql.Named("LockOwner", "Session"), sql.Named("LockTimeout", ms), &status)
		return err
	}
	for range 2 { // re-entrant
		if err := lock(conn, 0); err != nil || status != 0 {
			t.Fatalf("application lock: %d, %v", status, err)
		}
	}
	other, err := x.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := lock(other, 20); err != nil || status != -1 {
		t.Errorf("taken lock: %d, %v", status, err)
	}
	conn.Close() // back to the pool: the next use resets the session
	if rec, err := d.Leader(t.Context(), "g"); err != nil || rec.Token == 1 {
		t.Errorf("%+v, %v", rec, err)
	}
	again, err := x.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := lock(other, 0); err != nil || status != 0 {
		t.Errorf("lock after the reset: %d, %v", status, err)
	}
	if _, err := other.ExecContext(t.Context(), "sp_releaseapplock", sql.Named("Resource", "nothing"), sql.Named("LockOwner", "Session")); number(err) != 1223 {
		t.Errorf("release of what is not held: %v", err)
	}
}

func TestStandInDuplicateKey(t *testing.T) {
	x := newStandInOnly(t)
	acquire(t, x.driver(t), "g", time.Minute)
	insert := x.text("INSERT INTO {table} (grp, nonce, last_nonce, participant, token, acquired_us, expires_us, ttl_us, metadata)" +
		" VALUES (@grp, @nonce, @last_nonce, @participant, @token, @acquired, @expires, @ttl, @metadata)")
	args := func(group string) []any {
		return []any{sql.Named("grp", group), sql.Named("nonce", ""), sql.Named("last_nonce", ""), sql.Named("participant", ""),
			sql.Named("token", int64(1)), sql.Named("acquired", int64(0)), sql.Named("expires", int64(0)), sql.Named("ttl", int64(0)),
			sql.Named("metadata", sql.NullString{})}
	}
	if _, err := x.db.Exec(insert, args("g")...); number(err) != 2627 {
		t.Errorf("duplicate: %v", err)
	}
	if _, err := x.db.Exec(insert, args("h")...); err != nil {
		t.Error(err)
	}
}

func TestStandInKnowsSecrets(t *testing.T) {
	x := newStandInOnly(t)
	x.server.SetLogin("other", tds.Login{Password: "pä55 wörd ✓"})
	db := sql.OpenDB(connector(t, map[string]string{"user id": "other", "password": "pä55 wörd ✓", "server": x.server.Addr()}))
	defer db.Close()
	if err := db.Ping(); err != nil {
		t.Error(err)
	}
	db2 := sql.OpenDB(connector(t, map[string]string{"user id": "other", "password": "pä55 wörd", "server": x.server.Addr()}))
	defer db2.Close()
	if err := db2.Ping(); number(err) != 18456 {
		t.Error(err)
	}
}

// connector builds a keyword connection string.
func connector(t *testing.T, words map[string]string) *mssql.Connector {
	t.Helper()
	host, port, _ := strings.Cut(words["server"], ":")
	c, err := mssql.NewConnector("server=" + host + ";port=" + port + ";user id=" + words["user id"] + ";password=" + words["password"] + ";encrypt=disable")
	if err != nil {
		t.Fatal(err)
	}
	return c
}
