package tds

import (
	"bufio"
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"
)

// session is one connection.
type session struct {
	s          *Server
	conn       net.Conn
	spid       uint16
	packetSize int
	user       string
	ready      bool // logged in; guarded by s.mu

	// State of the session, touched by its goroutine while it holds s.mu.
	tran        *transaction
	lockTimeout time.Duration  // negative: no limit
	locks       map[string]int // application locks and how often each is held
	waitsFor    *session       // whose row lock this session waits for

	mu       sync.Mutex
	cancel   context.CancelFunc // of the request that runs
	attended bool               // that request was cancelled by an attention
}

func newSession(s *Server, conn net.Conn, spid uint16) *session {
	return &session{s: s, conn: conn, spid: spid, packetSize: 4096, lockTimeout: -1, locks: make(map[string]int)}
}

// serve runs the connection until it ends: this goroutine executes, another
// reads, because an attention arrives while a request is executed.
func (c *session) serve() {
	defer c.s.done.Done()
	messages := make(chan message)
	stop := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel() // a broken connection ends what it waits for
		defer close(messages)
		c.read(messages, stop)
	}()
	for m := range messages {
		if c.handle(ctx, m) != nil {
			break
		}
	}
	close(stop)
	c.conn.Close()
	c.s.mu.Lock()
	c.reset()
	delete(c.s.sessions, c)
	c.s.mu.Unlock()
	for range messages { // the reader ends with the connection
	}
	cancel()
}

func (c *session) read(messages chan<- message, stop <-chan struct{}) {
	r := bufio.NewReader(c.conn)
	for {
		m, err := readMessage(r)
		if err != nil {
			return
		}
		if m.kind == typeAttention && c.attention() {
			continue
		}
		select {
		case messages <- m:
		case <-stop:
			return
		}
	}
}

// attention cancels the request under way and reports whether there is one; its
// answer is then the confirmation.
func (c *session) attention() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel == nil {
		return false
	}
	c.attended = true
	c.cancel()
	return true
}

// handle answers one message.
func (c *session) handle(ctx context.Context, m message) error {
	switch m.kind {
	case typePrelogin:
		return c.write(prelogin())
	case typeLogin:
		return c.login(m.data)
	case typeAttention:
		p := &reply{}
		p.done(tokenDone, doneAttn, 0)
		return c.write(p.b)
	case typeBatch, typeRPC, typeTransMgr:
		return c.request(ctx, m)
	default:
		return errors.New("tds: not supported: packet type")
	}
}

func (c *session) login(data []byte) error {
	in, err := decodeLogin(data)
	if err != nil {
		return err
	}
	c.s.mu.Lock()
	account, known := c.s.opts.Logins[in.user]
	database := c.s.hasDatabase(in.database)
	c.s.counts["login"]++
	ok := known && account.Password == in.password
	c.ready = ok && database
	c.s.mu.Unlock()
	p := &reply{}
	refused := &sqlError{18456, 14, "Login failed for user '" + in.user + "'."}
	switch {
	case !ok:
		p.end(refused, 0)
	case !database:
		p.error(&sqlError{4060, 11, "Cannot open database \"" + in.database + "\" requested by the login. The login failed."})
		p.end(refused, 0)
	default:
		c.user = in.user
		if in.packetSize >= 512 && in.packetSize <= 32767 {
			c.packetSize = in.packetSize
		}
		p.envDatabase(in.database)
		p.loginAck()
		p.end(nil, 0)
		return c.write(p.b)
	}
	if err := c.write(p.b); err != nil {
		return err
	}
	return refused
}

// request executes a batch, a call or a transaction request and answers it.
func (c *session) request(parent context.Context, m message) error {
	if !c.ready {
		return errors.New("tds: request before login")
	}
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	c.mu.Lock()
	c.cancel, c.attended = cancel, false
	c.mu.Unlock()

	c.s.mu.Lock()
	if m.reset {
		c.reset()
	}
	p := &reply{}
	if m.reset {
		p.sized(tokenEnvChange, func(p *reply) { p.b = append(p.b, envReset, 0, 0) })
	}
	err := c.execute(ctx, m, p)
	c.s.mu.Unlock()

	c.mu.Lock()
	attended := c.attended
	c.cancel = nil
	c.mu.Unlock()
	if attended {
		p = &reply{}
		p.done(tokenDone, doneAttn, 0)
		return c.write(p.b)
	}
	if err != nil {
		return err
	}
	return c.write(p.b)
}

func (c *session) write(data []byte) error {
	return writeMessage(c.conn, data, c.packetSize, c.spid)
}

// reset puts the session back to how it was after the login. The caller holds
// s.mu, as for all that follows.
func (c *session) reset() {
	if c.tran != nil {
		c.tran.rollback()
		c.tran = nil
	}
	for name := range c.locks {
		c.s.freeAppLock(c, name)
	}
	c.lockTimeout = -1
}

func (c *session) may(permission string) bool {
	return !slices.Contains(c.s.opts.Logins[c.user].Deny, permission)
}
