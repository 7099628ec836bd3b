package tds

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options configures a server. The zero value has one login, DefaultLogin, that
// may do everything in the database "app".
type Options struct {
	// Logins by user name.
	Logins map[string]Login
	// Databases that exist besides "master"; they share their tables.
	Databases []string
	// Compatible makes the server answer as some T-SQL compatible servers do: -999
	// where an application lock is not available at once, 0 also when it was
	// waited for, and CompatibleError for what has no number.
	Compatible bool
	// DelayedDurability is the database's setting: 0 disabled, 1 allowed, 2 forced.
	DelayedDurability int
	// NoOpenJSON lacks OPENJSON, as databases of an old compatibility level do.
	NoOpenJSON bool
	// NoAppLocks refuses application locks at once, as servers do to a caller without
	// the right.
	NoAppLocks bool
	// ImplicitTransactions leaves a transaction open after each statement, as
	// sessions with that setting do.
	ImplicitTransactions bool
}

// Login is an account.
type Login struct {
	Password string
	// Deny lists permissions it lacks: SELECT, INSERT, UPDATE, DELETE, CREATE TABLE,
	// CREATE SCHEMA.
	Deny []string
}

// The login of a server without Options.Logins.
const (
	DefaultUser     = "multilock"
	DefaultPassword = "Multilock-1"
	DefaultDatabase = "app"
)

// CompatibleError is the number a Compatible server uses for errors that have
// none of their own, lock time-outs among them.
const CompatibleError = 33557097

// Server is a running stand-in. All methods may be called concurrently.
type Server struct {
	opts Options
	addr string

	mu        sync.Mutex // guards everything below and all the data
	listener  net.Listener
	sessions  map[*session]struct{}
	lastSPID  uint16
	lastTran  uint64
	offset    time.Duration
	frozen    *time.Time
	schemas   map[string]bool
	tables    map[string]*table
	appLocks  map[string]*appLock
	lockWaits []time.Duration
	counts    map[string]int
	faults    map[string][]*sqlError
	holds     map[string]*hold
	done      sync.WaitGroup
}

// Start runs a server on a free port of the loopback interface.
func Start(o Options) (*Server, error) {
	if o.Logins == nil {
		o.Logins = map[string]Login{DefaultUser: {Password: DefaultPassword}}
	}
	if o.Databases == nil {
		o.Databases = []string{DefaultDatabase}
	}
	s := &Server{
		opts: o, addr: "127.0.0.1:0",
		sessions: make(map[*session]struct{}),
		schemas:  map[string]bool{"dbo": true},
		tables:   make(map[string]*table),
		appLocks: make(map[string]*appLock),
		counts:   make(map[string]int),
		faults:   make(map[string][]*sqlError),
		holds:    make(map[string]*hold),
	}
	return s, s.listen()
}

func (s *Server) listen() error {
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener, s.addr = l, l.Addr().String()
	s.done.Add(1)
	go s.accept(l)
	return nil
}

func (s *Server) accept(l net.Listener) {
	defer s.done.Done()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.listener != l {
			s.mu.Unlock()
			conn.Close()
			continue
		}
		s.lastSPID++
		sess := newSession(s, conn, s.lastSPID)
		s.sessions[sess] = struct{}{}
		s.done.Add(1)
		s.mu.Unlock()
		go sess.serve()
	}
}

// Addr is the host and port of the server.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// URL is a connection string of the default login.
func (s *Server) URL() string { return s.URLAt(s.Addr()) }

// URLAt is URL through another address, that of a proxy.
func (s *Server) URLAt(addr string) string {
	return fmt.Sprintf("sqlserver://%s:%s@%s?database=%s&encrypt=disable", DefaultUser, DefaultPassword, addr, DefaultDatabase)
}

// Stop ends the server: its connections are cut, open transactions rolled back,
// application locks freed. What was committed stays for [Server.Restart].
func (s *Server) Stop() {
	s.mu.Lock()
	if s.listener != nil {
		s.listener.Close()
		s.listener = nil
	}
	s.mu.Unlock()
	s.KillSessions()
	s.done.Wait()
}

// Restart stops the server, if it runs, and starts it on the same port.
func (s *Server) Restart() error {
	s.Stop()
	return s.listen()
}

// KillSessions cuts all connections.
func (s *Server) KillSessions() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sess := range s.sessions {
		sess.conn.Close()
	}
}

// Sessions is the number of connections that have logged in.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for sess := range s.sessions {
		if sess.ready {
			n++
		}
	}
	return n
}

// StepClock sets the server's clock forward, or back.
func (s *Server) StepClock(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
	if s.frozen != nil {
		at := s.frozen.Add(d)
		s.frozen = &at
	}
}

// FreezeClock stops the clock: from then on only StepClock moves it.
func (s *Server) FreezeClock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.now()
	s.frozen = &at
}

// ResetClock makes the clock that of the machine again.
func (s *Server) ResetClock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset, s.frozen = 0, nil
}

func (s *Server) now() time.Time {
	if s.frozen != nil {
		return *s.frozen
	}
	return time.Now().Add(s.offset)
}

// Fail makes the next execution of a statement fail with an error of that
// number, before it does anything. Statements are named by [Server.Counts].
func (s *Server) Fail(statement string, number int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[statement] = append(s.faults[statement], &sqlError{number, 16, fmt.Sprintf("injected error %d", number)})
}

// hold stops one statement.
type hold struct{ reached, released chan struct{} }

// Hold stops the next execution of a statement between reading the clock and
// using it, where a busy server may leave any statement for a while. reached is
// closed when it has come there; release lets it go on. Besides those named by
// [Server.Counts] there are "renew row", the renewal of one row beside a locked
// one, and "renew clamp", what comes last in a renewal.
func (s *Server) Hold(statement string) (reached <-chan struct{}, release func()) {
	h := &hold{reached: make(chan struct{}), released: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds[statement] = h
	return h.reached, sync.OnceFunc(func() { close(h.released) })
}

// SetDatabases replaces Options.Databases. Sessions go on.
func (s *Server) SetDatabases(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Databases = names
}

// Counts tells how often each statement or procedure was asked for, by name.
func (s *Server) Counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// SetLogin adds or changes an account.
func (s *Server) SetLogin(user string, l Login) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Logins[user] = l
}

// AppLocks tells, for each application lock that is held or waited for, how many
// sessions wait for it.
func (s *Server) AppLocks() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := make(map[string]int, len(s.appLocks))
	for name, l := range s.appLocks {
		waiting[name] = len(l.queue)
	}
	return waiting
}

// LockWaits lists how long requests for an application lock were ready to wait,
// in the order in which they came.
func (s *Server) LockWaits() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lockWaits)
}

// begin counts a request and returns the error injected for it.
func (s *Server) begin(statement string) *sqlError {
	s.counts[statement]++
	if f := s.faults[statement]; len(f) > 0 {
		s.faults[statement] = f[1:]
		return f[0]
	}
	return nil
}

func (s *Server) hasDatabase(name string) bool {
	if name == "" || strings.EqualFold(name, "master") {
		return true
	}
	for _, d := range s.opts.Databases {
		if strings.EqualFold(d, name) {
			return true
		}
	}
	return false
}
