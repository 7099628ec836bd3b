//go:build unix

package postgres

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/multilock/multilock-go/testservers/proc"
)

// Bouncer is a running PgBouncer before a Server.
type Bouncer struct {
	*proc.Process
	port int
}

// StartBouncer starts PgBouncer before s, until the test ends. Mode is
// "transaction", "session" or "statement"; further settings are lines of its
// configuration, such as "default_pool_size = 2".
func StartBouncer(tb proc.TB, s *Server, mode string, settings ...string) *Bouncer {
	tb.Helper()
	c := credential(tb)
	dir := tempDir(tb, c)
	b := &Bouncer{port: proc.FreePort(tb)}
	write(tb, filepath.Join(dir, "users.txt"), fmt.Sprintf("%q %q\n", User, Password))
	lines := append([]string{
		"[databases]",
		fmt.Sprintf("* = host=127.0.0.1 port=%d", s.port),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1",
		fmt.Sprintf("listen_port = %d", b.port),
		"unix_socket_dir =",
		"auth_type = scram-sha-256",
		"auth_file = " + filepath.Join(dir, "users.txt"),
		"pool_mode = " + mode,
		"max_client_conn = 200",
	}, settings...)
	write(tb, filepath.Join(dir, "pgbouncer.ini"), strings.Join(lines, "\n")+"\n")
	b.Process = proc.Start(tb, proc.Command{
		Name:       "pgbouncer",
		Path:       proc.Look(tb, "pgbouncer", install, "/usr/sbin/pgbouncer"),
		Args:       []string{filepath.Join(dir, "pgbouncer.ini")},
		Dir:        dir,
		Ready:      func(ctx context.Context) error { return handshake(ctx, b.Addr(), User, Database) },
		Credential: c,
	})
	return b
}

// Addr is where it listens.
func (b *Bouncer) Addr() string { return proc.Addr(b.port) }

// URL is the address of a database through it.
func (b *Bouncer) URL(user, password, database string) string {
	return URL(b.Addr(), user, password, database)
}
