//go:build unix

package postgres

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
)

// The superuser of every server, and the database made for tests.
const (
	User     = "postgres"
	Password = "open-sesame-7d1f"
	Database = "postgres"
)

// Options says what kind of server is wanted. The zero value is a plain one.
type Options struct {
	// Settings are further lines of the configuration, such as "log_statement = all".
	Settings []string
	// Faketime makes Server.StepClock work; it needs libfaketime.
	Faketime bool
}

// Server is a running PostgreSQL. The methods of Process start and stop it; use
// Crash instead of Process.Kill, which leaves children behind for a moment.
type Server struct {
	*proc.Process
	port  int
	dir   string
	clock string // the file libfaketime reads, or empty
}

// Start makes a database cluster and starts its server, until the test ends.
//
// Nothing is fsynced: what the server acknowledged survives the end of the
// process, which is all that tests do to it, though not that of the machine.
func Start(tb proc.TB, o Options) *Server {
	tb.Helper()
	c := credential(tb)
	dir := tempDir(tb, c)
	s := &Server{port: proc.FreePort(tb), dir: dir}
	write(tb, filepath.Join(dir, "password"), Password)
	data := filepath.Join(dir, "data")
	run(tb, c, dir, program(tb, "initdb"), "-D", data, "--no-sync", "--username="+User, "--auth=scram-sha-256",
		"--pwfile="+filepath.Join(dir, "password"), "--encoding=UTF8", "--locale=C")
	settings := append([]string{
		"listen_addresses = '127.0.0.1'",
		fmt.Sprintf("port = %d", s.port),
		"unix_socket_directories = ''",
		"fsync = off",
		"full_page_writes = off",
		"shared_buffers = 32MB",
		"max_connections = 200",
		"autovacuum_naptime = 1h",
		"log_min_messages = warning",
		"log_min_error_statement = panic",
	}, o.Settings...)
	// This file is read after, and wins over, postgresql.conf.
	write(tb, filepath.Join(data, "postgresql.auto.conf"), strings.Join(settings, "\n")+"\n")
	var env []string
	if o.Faketime {
		env = s.faketime(tb)
	}
	// SIGINT is the fast shutdown: sessions are ended and the data is written.
	s.Process = proc.Start(tb, proc.Command{
		Name:       "postgres",
		Path:       program(tb, "postgres"),
		Args:       []string{"-D", data},
		Env:        append(env, "LC_ALL=C", "TZ=UTC"),
		Dir:        dir,
		Ready:      s.ready,
		StopSignal: syscall.SIGINT,
		Credential: c,
	})
	tb.Cleanup(s.Crash) // before the directory goes, and with all children
	return s
}

// Addr is where the server listens.
func (s *Server) Addr() string { return proc.Addr(s.port) }

// URL is the address of database for a user.
func (s *Server) URL(user, password, database string) string {
	return URL(s.Addr(), user, password, database)
}

// URL is the address of a database behind addr, a proxy or pooler for instance.
func URL(addr, user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: addr, Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Crash ends the server as a crash does: no checkpoint, all sessions dropped.
func (s *Server) Crash() {
	if pid := s.PID(); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGQUIT) // children included; it may be gone already
		for range 500 {
			if !s.Alive() {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	s.Kill()
}

// Restart crashes the server and starts it again; it returns when it answers.
// Everything acknowledged is still there.
func (s *Server) Restart() {
	s.Crash()
	s.Start()
}

// ready asks as a client would: the server accepts connections long before it
// serves them.
func (s *Server) ready(ctx context.Context) error {
	return handshake(ctx, s.Addr(), User, Database)
}
