package zookeeper

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// Hook lets a Backend see and do what a *zk.Conn does not offer: when a
// connection was opened, which session time-out the server granted, every event
// (the library drops events when its channel is full, but never skips its
// callback), and closing a connection that does not answer, so that the session
// moves to another one.
//
// A program with a client of its own makes a Hook, gives its Dial and Event to
// zk.Connect, and then both to [FromConn]. A Hook serves one Conn.
type Hook struct {
	dialer zk.Dialer
	events zk.EventCallback

	mu       sync.Mutex
	link     link
	current  *wire
	failures int   // dials that failed
	dialErr  error // of the latest
	closed   bool  // the client was closed
	changed  chan struct{}
	observer observer
	limit    time.Duration // for the session on a new connection
	quiet    time.Duration // after which the observer asks something, 0 while it does not
	tick     time.Duration
	watching int64 // the session that has a watch for good

	// When the server was last heard, last written to, and last asked something, by
	// time.Since(born).
	born                time.Time
	heard, wrote, asked atomic.Int64
}

// link is a connection with a session.
type link struct {
	up      bool
	epoch   uint64 // counts connections that got a session
	session int64  // 0 if none is known to be alive
	timeout time.Duration
	opened  time.Time // before the session was asked for on this connection
}

// observer is told what happens, from the library's goroutines: it must not
// block. sessionEnded comes before the server can know, if it is us who end it.
type observer interface {
	connected(link)
	sessionEnded()
	nodeEvent(zk.Event)
}

// handshakeLimit bounds the wait for a session on a new connection before a
// Backend has set its own; the library would wait for almost seven session
// time-outs.
const handshakeLimit = 10 * time.Second

// NewHook returns a Hook that dials with dialer and passes events on to events;
// either may be nil. A dialer that does TLS must finish its handshake.
func NewHook(dialer zk.Dialer, events zk.EventCallback) *Hook {
	if dialer == nil {
		dialer = net.DialTimeout
	}
	return &Hook{dialer: dialer, events: events, changed: make(chan struct{}), limit: handshakeLimit, born: time.Now()}
}

// Dial is for zk.WithDialer.
func (h *Hook) Dial(network, address string, timeout time.Duration) (net.Conn, error) {
	c, err := net.Conn(nil), h.hush()
	if err == nil {
		c, err = h.dialer(network, address, timeout)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.failures++
		h.dialErr = err
		h.tell()
		return nil, err
	}
	w := &wire{Conn: c, hook: h, opened: time.Now(), moved: make(chan struct{})}
	h.current = w
	time.AfterFunc(h.limit, func() {
		if !h.welcomed(w) {
			_ = w.Close()
		}
	})
	return w, nil
}

// errHush is the error of a dial that was not made, see hush.
var errHush = errors.New("the session is left to expire: its time-out passed without an answer")

// hush holds back new connections after the session's time-out has passed without
// an answer. The terms of the session are over then; but if our requests still
// arrive and only the answers are lost, each attempt to take up the session again
// would keep it alive, and nobody else could ever lead. So the servers must not
// hear of it until it has certainly expired.
func (h *Hook) hush() error {
	h.mu.Lock()
	session, timeout, tick := h.link.session, h.link.timeout, h.tick
	h.mu.Unlock()
	now := time.Since(h.born)
	if session == 0 || now-time.Duration(h.heard.Load()) < timeout {
		return nil
	}
	if now-time.Duration(h.wrote.Load()) < timeout+2*tick {
		return errHush
	}
	return nil
}

// Event is for zk.WithEventCallback.
func (h *Hook) Event(e zk.Event) {
	h.mu.Lock()
	o := h.observer
	var report func()
	switch {
	case e.Type == zk.EventSession && e.State == zk.StateHasSession:
		if w := h.current; w != nil {
			w.welcome = true
			timeout, session := w.granted()
			if session == h.link.session {
				w.patience = unknownWatches
				if session == h.watching {
					w.patience = knownWatches
				}
			}
			h.link = link{up: true, epoch: h.link.epoch + 1, session: session, timeout: timeout, opened: w.opened}
			l := h.link
			report = func() { o.connected(l) }
			h.tell()
		}
	case e.Type == zk.EventSession && e.State == zk.StateExpired:
		h.link.up, h.link.session = false, 0
		report = func() { o.sessionEnded() }
		if h.current != nil {
			_ = h.current.Close() // the library forgets to
		}
		h.tell()
	case e.Type == zk.EventSession && e.State == zk.StateDisconnected:
		h.link.up = false
		h.tell()
	case e.Type == zk.EventNotWatching:
		if errors.Is(e.Err, zk.ErrClosing) { // closed while there was no connection
			report = h.ending
		}
	case e.Path != "":
		report = func() { o.nodeEvent(e) }
	}
	h.mu.Unlock()
	if report != nil && o != nil {
		report() // without the lock: it takes locks of its own
	}
	if h.events != nil {
		h.events(e)
	}
}

// tell wakes who waits for a change; the lock is held.
func (h *Hook) tell() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *Hook) welcomed(w *wire) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return w.welcome
}

// look returns the connection and a channel that is closed at the next change.
func (h *Hook) look() (l link, closed bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.link, h.closed, h.changed
}

func (h *Hook) dials() (failures int, last error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failures, h.dialErr
}

// cut closes the connection epoch, unless another has taken its place. The
// session stays, and the library opens the next connection.
func (h *Hook) cut(epoch uint64) {
	h.mu.Lock()
	w := h.current
	ok := h.link.up && h.link.epoch == epoch
	h.mu.Unlock()
	if ok && w != nil {
		_ = w.Close()
	}
}

// attach makes o the observer; it reports false if there is one.
func (h *Hook) attach(o observer, limit, tick time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.observer != nil {
		return false
	}
	h.observer, h.limit, h.tick = o, limit, tick
	return true
}

// relieve says that from now on the observer asks something whenever the session has
// been quiet for so long.
func (h *Hook) relieve(quiet time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quiet = quiet
}

func (h *Hook) detach() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.observer = nil
	h.tell()
}

// hosts hands out the servers in turn, by name: the library's own provider
// resolves names once, for good, and waits a second before it dials the only
// server again.
type hosts struct {
	mu      sync.Mutex
	servers []string
	next    int
	tried   int // since the last connection
}

func (h *hosts) Init(servers []string) error {
	h.servers = servers
	return nil
}

func (h *hosts) Len() int { return len(h.servers) }

// Next tells the library to pause when every server was tried in vain.
func (h *hosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server = h.servers[h.next%len(h.servers)]
	h.next++
	retryStart = h.tried > 0 && h.tried%len(h.servers) == 0
	h.tried++
	return server, retryStart
}

func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tried = 0
}
