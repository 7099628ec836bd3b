package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/multilock/multilock-go/backends/postgres"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
	server "github.com/multilock/multilock-go/testservers/postgres"
	"github.com/multilock/multilock-go/testservers/proc"
)

const secret = "s3cr3t-8c1e"

// role makes a role that may log in and nothing else, and its URL.
func role(t *testing.T, base string) (name, url string) {
	t.Helper()
	name = fmt.Sprintf("role_%d", tables.Add(1))
	conn := admin(t, base)
	defer conn.Close(context.Background())
	must(t, exec(conn, "CREATE ROLE "+name+" LOGIN PASSWORD '"+secret+"'"))
	t.Cleanup(func() {
		conn := admin(t, base)
		defer conn.Close(context.Background())
		must(t, exec(conn, "DROP OWNED BY "+name))
		must(t, exec(conn, "DROP ROLE "+name))
	})
	c := conn.Config()
	return name, server.URL(fmt.Sprintf("%s:%d", c.Host, c.Port), name, secret, c.Database)
}

// everything does all there is to do once.
func everything(ctx context.Context, d driver.Driver, group string) error {
	req := request(group)
	g, err := d.Acquire(ctx, req)
	if err != nil {
		return fmt.Errorf("acquire: %w", err)
	}
	term := driver.Term{Group: group, Nonce: req.Nonce, Token: g.Token}
	if r := renew(ctx, d, req.TTL, term)[0]; r.Err != nil {
		return fmt.Errorf("renew: %w", r.Err)
	}
	if _, err := d.Leader(ctx, group); err != nil {
		return fmt.Errorf("leader: %w", err)
	}
	sub, err := d.(driver.Watcher).Watch(ctx, &bell{})
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	if err := d.Resign(ctx, term); err != nil {
		return fmt.Errorf("resign: %w", err)
	}
	return errors.Join(sub.Close(), d.(driver.Pinger).Ping(ctx))
}

func TestLeastPrivilege(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner := o.ConnString
	must(t, everything(t.Context(), open(t, o), "owner"))
	name, url := role(t, owner)
	sql(t, owner, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	sql(t, owner, "GRANT SELECT, INSERT, UPDATE ON "+quoted(o)+" TO "+name)
	o.ConnString = url
	must(t, everything(t.Context(), open(t, o), "member"))
}

// Rights are taken away one by one: each lack is told, with what to do.
func TestMissingPrivileges(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner := o.ConnString
	must(t, everything(t.Context(), open(t, o), "owner"))
	name, url := role(t, owner)
	o.ConnString = url
	for _, right := range []string{"SELECT", "INSERT", "UPDATE"} {
		sql(t, owner, "GRANT SELECT, INSERT, UPDATE ON "+quoted(o)+" TO "+name)
		sql(t, owner, "REVOKE "+right+" ON "+quoted(o)+" FROM "+name)
		_, err := open(t, o).Acquire(t.Context(), request("without-"+strings.ToLower(right)))
		if !errors.Is(err, driver.ErrMisconfigured) || !strings.Contains(err.Error(), "grant") {
			t.Errorf("without %s: %v", right, err)
		}
	}
	// Neither the table nor the right to create it.
	o.Table = tableName()
	sql(t, owner, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
	if _, err := open(t, o).Acquire(t.Context(), request("g")); !errors.Is(err, driver.ErrMisconfigured) {
		t.Errorf("without the right to create the table: %v", err)
	}
	// The right is given later: the same driver, at its next attempt, works.
	d := open(t, o)
	_, err := d.Acquire(t.Context(), request("g"))
	if !errors.Is(err, driver.ErrMisconfigured) {
		t.Fatalf("without the table: %v", err)
	}
	sql(t, owner, postgres.DDL("public", o.Table))
	sql(t, owner, "GRANT SELECT, INSERT, UPDATE ON "+quoted(o)+" TO "+name)
	if _, err := d.Acquire(t.Context(), request("g")); err != nil {
		t.Errorf("after the table was made: %v", err)
	}
}

func TestMisconfigurations(t *testing.T) {
	t.Parallel()
	base, _ := serverURL()
	conf := admin(t, base).Config()
	addr := fmt.Sprintf("%s:%d", conf.Host, conf.Port)
	other := tableName()
	sql(t, base, "CREATE TABLE "+pgx.Identifier{other}.Sanitize()+" (id int)")
	t.Cleanup(func() { sql(t, base, "DROP TABLE "+pgx.Identifier{other}.Sanitize()) })
	keyless := tableName()
	sql(t, base, strings.ReplaceAll(postgres.DDL("public", keyless), "PRIMARY KEY", ""))
	t.Cleanup(func() { sql(t, base, "DROP TABLE "+pgx.Identifier{keyless}.Sanitize()) })
	narrow := tableName()
	sql(t, base, strings.ReplaceAll(postgres.DDL("public", narrow), "nonce       uuid", "nonce       text"))
	t.Cleanup(func() { sql(t, base, "DROP TABLE "+pgx.Identifier{narrow}.Sanitize()) })
	for name, o := range map[string]postgres.Options{
		"password":      {ConnString: server.URL(addr, conf.User, secret, conf.Database)},
		"user":          {ConnString: server.URL(addr, "nobody-there", secret, conf.Database)},
		"database":      {ConnString: at(strings.Replace(base, "/"+conf.Database, "/no-such-database", 1), addr)},
		"table":         {ConnString: base, Table: tableName(), NoAutoCreate: true},
		"schema":        {ConnString: base, Schema: "no such schema", NoAutoCreate: true},
		"shape":         {ConnString: base, Table: other},
		"no key":        {ConnString: base, Table: keyless},
		"type":          {ConnString: base, Table: narrow},
		"parameter":     {ConnString: with(base, "no_such_setting", "1")},
		"tls":           {ConnString: strings.Replace(base, "sslmode=disable", "sslmode=require", 1)},
		"pooler's user": {ConnString: server.URL(bouncer().Addr(), "nobody-there", secret, conf.Database)},
		"pooler's word": {ConnString: server.URL(bouncer().Addr(), conf.User, secret, conf.Database)},
		"behind pooler": {ConnString: at(strings.Replace(base, "/"+conf.Database, "/no-such-database", 1), bouncer().Addr())},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := postgres.Open(t.Context(), o)
			must(t, err)
			t.Cleanup(func() { _ = b.Close(context.Background()) })
			e, err := multilock.New(b, multilock.Options{Group: "g"})
			must(t, err)
			err = e.Run(t.Context(), func(context.Context, multilock.Term) error { return errors.New("it led") })
			if !errors.Is(err, multilock.ErrMisconfigured) || !strings.Contains(err.Error(), "(") {
				t.Errorf("want a misconfiguration with a hint, got %v", err)
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err), b.String(), o.String()} {
				if strings.Contains(text, secret) || strings.Contains(text, server.Password) {
					t.Errorf("a password is told: %s", text)
				}
			}
		})
	}
}

func TestConnStringIsNeverQuoted(t *testing.T) {
	for _, text := range []string{
		"postgres://u:" + secret + "@h:notaport/db",
		"host=h password=" + secret + " port=x",
		"host=h password='" + secret,
		"postgres://u:" + secret + "@h/db?sslmode=" + secret,
		"postgres://u:" + secret + "%zz@h/db",
	} {
		_, _, err := postgres.NewDriver(postgres.Options{ConnString: text})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("NewDriver: %v", err)
		}
		if !errors.Is(err, multilock.ErrInvalid) {
			t.Errorf("NewDriver: %v is no ErrInvalid", err)
		}
		if _, err := postgres.OpenURL(t.Context(), text); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("OpenURL: %v", err)
		}
	}
}

// A server that is down is no misconfiguration: it is waited for.
func TestServerThatIsDown(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	url := s.URL(server.User, server.Password, server.Database)
	s.Crash()
	b, err := postgres.Open(t.Context(), postgres.Options{ConnString: url})
	must(t, err)
	defer b.Close(context.Background())
	if _, err := b.Driver().Acquire(t.Context(), request("g")); !errors.Is(err, driver.ErrNotApplied) {
		t.Errorf("acquire from a server that is down: %v", err)
	}
	e, err := multilock.New(b, multilock.Options{Group: "g"})
	must(t, err)
	must(t, e.Start(t.Context()))
	defer e.Stop(context.Background())
	s.Start()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	term, err := e.WaitForLeadership(ctx)
	must(t, err)

	// What was acknowledged survives the crash: nobody else gets it.
	s.Restart()
	d := open(t, postgres.Options{ConnString: url})
	var held *driver.HeldError
	if _, err := d.Acquire(t.Context(), request("g")); !errors.As(err, &held) || held.Record.Token != term.Token {
		t.Errorf("after a restart: %v", err)
	}
	// The leader finds its connections dead, and keeps the term.
	eventually(t, "the leader renews after the restart", func() bool {
		rec, err := d.Leader(t.Context(), "g")
		return err == nil && rec.Remaining > 14*time.Second
	})
	if now, ok := e.Term(); !ok || now.Token != term.Token {
		t.Errorf("the term did not survive a restart: %v, %v", now, ok)
	}
}

// A server that was primary and only reads from now on: connections to it are
// dropped, and when it writes again everything goes on.
func TestReadOnlyServer(t *testing.T) {
	t.Parallel()
	s := server.Start(t, server.Options{})
	url := s.URL(server.User, server.Password, server.Database)
	d := open(t, postgres.Options{ConnString: url})
	must(t, everything(t.Context(), d, "g"))
	conn := admin(t, url)
	defer conn.Close(context.Background())
	must(t, exec(conn, "ALTER SYSTEM SET default_transaction_read_only = on"))
	must(t, exec(conn, "SELECT pg_reload_conf()"))
	eventually(t, "the server only reads", func() bool {
		_, err := d.Acquire(t.Context(), request("h")) // it may be held by an attempt before
		return errors.Is(err, driver.ErrNotApplied)
	})
	if _, err := d.Acquire(t.Context(), request("i")); !errors.Is(err, driver.ErrNotApplied) {
		t.Errorf("acquire on a server that only reads: %v", err)
	}
	for range 10 {
		_, _ = d.Acquire(t.Context(), request("i"))
	}
	eventually(t, "connections to a server that only reads are dropped", func() bool { return tcp(t, conn) <= 2 })
	must(t, exec(conn, "SET default_transaction_read_only = off"))
	must(t, exec(conn, "ALTER SYSTEM RESET default_transaction_read_only"))
	must(t, exec(conn, "SELECT pg_reload_conf()"))
	eventually(t, "the server writes again", func() bool {
		_, err := d.Acquire(t.Context(), request("k"))
		return err == nil
	})
}

func tcp(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'multilock'").Scan(&n))
	return n
}

// Of several hosts the one that writes is taken.
func TestSeveralHosts(t *testing.T) {
	t.Parallel()
	base, _ := serverURL()
	conf := admin(t, base).Config()
	dead := proc.Addr(proc.FreePort(t))
	o := options(t)
	o.ConnString = at(base, fmt.Sprintf("%s,%s:%d", dead, conf.Host, conf.Port))
	must(t, everything(t.Context(), open(t, o), "g"))
}

// Twenty clients open a schema and table that do not exist.
func TestTableIsCreatedOnce(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.Schema = "Schema of " + o.Table
	base := o.ConnString
	t.Cleanup(func() { sql(t, base, "DROP SCHEMA "+pgx.Identifier{o.Schema}.Sanitize()+" CASCADE") })
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range 20 {
		d := open(t, o)
		wg.Go(func() {
			<-start
			var err error
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
				if _, err = d.Acquire(t.Context(), request(fmt.Sprintf("g%d", i))); !errors.Is(err, driver.ErrNotApplied) {
					break
				}
			}
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
		})
	}
	close(start)
	wg.Wait()
}

func TestTableDroppedUnderTheDriver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.term(request("g"))
	must(t, exec(w.admin, "DROP TABLE "+w.table))
	eventually(t, "the table is made anew", func() bool {
		r := renew(t.Context(), w.d, time.Minute, a)[0]
		return errors.Is(r.Err, driver.ErrLost)
	})
	if b := w.term(request("g")); b.Token <= a.Token {
		t.Errorf("token %d after %d", b.Token, a.Token)
	}
}

func TestKilledBackendsAreReplaced(t *testing.T) {
	t.Parallel()
	o := options(t)
	name := fmt.Sprintf("killed %d", tables.Add(1))
	o.ConnString = with(o.ConnString, "application_name", name)
	w := newWorld(t)
	d := open(t, o)
	must(t, everything(t.Context(), d, "g"))
	for range 3 {
		must(t, exec(w.admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name))
		eventually(t, "it works again", func() bool {
			_, err := d.Leader(t.Context(), "g")
			return errors.Is(err, driver.ErrNoLeader)
		})
	}
}

// A role for which commits are asynchronous, transactions serializable and times
// printed in another way.
func TestSettingsOfTheRoleDoNotMatter(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner := o.ConnString
	must(t, everything(t.Context(), open(t, o), "owner"))
	name, url := role(t, owner)
	sql(t, owner, "GRANT SELECT, INSERT, UPDATE ON "+quoted(o)+" TO "+name)
	for setting, value := range map[string]string{
		"synchronous_commit": "off", "default_transaction_isolation": "serializable", "datestyle": "'SQL, DMY'",
		"intervalstyle": "iso_8601", "timezone": "'Asia/Kathmandu'", "statement_timeout": "'20s'", "search_path": "pg_catalog",
		"extra_float_digits": "-5", "bytea_output": "escape",
	} {
		sql(t, owner, "ALTER ROLE "+name+" SET "+setting+" = "+value)
	}
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		o.ConnString = with(url, "default_query_exec_mode", mode)
		if err := everything(t.Context(), open(t, o), mode); err != nil {
			t.Errorf("mode %s: %v", mode, err)
		}
	}
}

// What is acknowledged is on disk, whatever the role's commits are like otherwise.
func TestCommitsAreSynchronous(t *testing.T) {
	t.Parallel()
	o := options(t)
	owner := o.ConnString
	must(t, everything(t.Context(), open(t, o), "owner"))
	name, url := role(t, owner)
	sql(t, owner, "GRANT SELECT, INSERT, UPDATE ON "+quoted(o)+" TO "+name)
	sql(t, owner, "ALTER ROLE "+name+" SET synchronous_commit = off")
	seen := pgx.Identifier{tableName()}.Sanitize()
	sql(t, owner, "CREATE TABLE "+seen+" (setting text)")
	function := pgx.Identifier{tableName()}.Sanitize()
	sql(t, owner, "CREATE FUNCTION "+function+"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $f$ BEGIN INSERT INTO "+seen+" VALUES (current_setting('synchronous_commit')); RETURN NEW; END $f$")
	sql(t, owner, "CREATE TRIGGER look BEFORE INSERT OR UPDATE ON "+quoted(o)+" FOR EACH ROW EXECUTE FUNCTION "+function+"()")
	t.Cleanup(func() {
		sql(t, owner, "DROP FUNCTION "+function+" CASCADE")
		sql(t, owner, "DROP TABLE "+seen)
	})
	o.ConnString = url
	d := open(t, o)
	for range 2 { // the first statements on their connections, and later ones
		must(t, everything(t.Context(), d, "member"))
	}
	conn := admin(t, owner)
	defer conn.Close(context.Background())
	var writes, on int
	must(t, conn.QueryRow(t.Context(), "SELECT count(*), count(*) FILTER (WHERE setting = 'on') FROM "+seen).Scan(&writes, &on))
	if writes != 6 || on != writes { // each time a term is taken, renewed and resigned
		t.Errorf("%d of %d writes were synchronous", on, writes)
	}
}

func TestFromPool(t *testing.T) {
	t.Parallel()
	o := options(t)
	pool, err := pgxpool.New(t.Context(), o.ConnString)
	must(t, err)
	defer pool.Close()
	if _, err := postgres.FromPool(pool, o); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("a connection string beside a pool: %v", err)
	}
	if _, err := postgres.FromPool(nil, postgres.Options{}); !errors.Is(err, multilock.ErrInvalid) {
		t.Errorf("no pool: %v", err)
	}
	o.ConnString = ""
	b, err := postgres.FromPool(pool, o)
	must(t, err)
	if strings.Contains(b.String(), server.Password) || !strings.Contains(b.String(), o.Table) {
		t.Errorf("String: %s", b)
	}
	must(t, everything(t.Context(), b.Driver(), "g"))
	must(t, b.Close(t.Context()))
	if _, err := b.Driver().Leader(t.Context(), "g"); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	must(t, pool.Ping(t.Context()))
	if n := pool.Stat().AcquiredConns(); n != 0 {
		t.Errorf("%d connections were not given back", n)
	}

	// The pool is closed first: an error, not a loss, and no hang.
	b, err = postgres.FromPool(pool, o)
	must(t, err)
	defer b.Close(context.Background())
	pool.Close()
	if _, err := b.Driver().Leader(t.Context(), "g"); err == nil || errors.Is(err, driver.ErrNoLeader) {
		t.Errorf("with a closed pool: %v", err)
	}
}
