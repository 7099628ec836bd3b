package zookeeper

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// wire reads along the beginning of what the server sends, the answer to the
// request for a session, and notices the requests that end the session and that
// move watches. welcome is guarded by the Hook.
type wire struct {
	net.Conn
	hook    *Hook
	opened  time.Time
	head    []byte
	welcome bool // it has a session

	patience time.Duration // how long the first answer waits for moved
	asked    atomic.Bool   // an answer is to come
	once     sync.Once
	moved    chan struct{} // closed when the watches move, or with the connection
}

// welcomeSize is the length, the protocol version, the granted time-out in
// milliseconds and the session.
const welcomeSize = 4 + 4 + 4 + 8

// Operations of the protocol.
const (
	closeSession = -11
	ping         = 11
	setAuth      = 100
	setWatches   = 101
)

// Write tells the observer of the end of the session before the server can know
// of it. The library writes each packet at once: its length, a number, the
// operation.
func (w *wire) Write(b []byte) (int, error) {
	h := w.hook
	now := int64(time.Since(h.born))
	if len(b) >= 12 && h.welcomed(w) {
		switch int32(binary.BigEndian.Uint32(b[8:])) {
		case closeSession:
			h.ending()
		case setWatches:
			w.move()
		case ping:
			if h.busy(now) {
				return len(b), nil
			}
		case setAuth: // its answer has no transaction id, as that of a ping
		default:
			w.asked.Store(true)
			h.asked.Store(now)
		}
	}
	h.wrote.Store(now)
	return w.Conn.Write(b)
}

// busy reports whether a ping may be left out: something was asked lately, and the
// driver will ask something before the server misses it. The library pings three
// times in a session time-out whatever else it sends.
func (h *Hook) busy(now int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.observer != nil && h.quiet > 0 && now-h.asked.Load() < int64(h.quiet+h.link.timeout/50)
}

// When a session is taken up again, the library reads its newest transaction id
// without a lock, in order to move its watches to the new connection, while each
// answer to a request changes that id. So answers wait until the request that
// moves the watches is written: until knownWatches if there is certainly a watch,
// otherwise for a moment.
const (
	knownWatches   = 2 * time.Second
	unknownWatches = 50 * time.Millisecond
)

// watchSet notes that session has a watch for as long as it lives.
func (h *Hook) watchSet(session int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watching = session
}

func (w *wire) move() { w.once.Do(func() { close(w.moved) }) }

// Close ends the wait of a reader too.
func (w *wire) Close() error {
	w.move()
	return w.Conn.Close()
}

// ending is run when the client is being closed.
func (h *Hook) ending() {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return
	}
	h.link.up, h.link.session, h.closed = false, 0, true
	o := h.observer
	h.tell()
	h.mu.Unlock()
	if o != nil {
		o.sessionEnded()
	}
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 {
		if w.patience > 0 && w.asked.Load() {
			select {
			case <-w.moved:
			case <-time.After(w.patience):
			}
			w.patience = 0
		}
		w.hook.heard.Store(int64(time.Since(w.hook.born)))
	}
	if missing := welcomeSize - len(w.head); missing > 0 && n > 0 {
		w.head = append(w.head, b[:min(n, missing)]...)
	}
	return n, err
}

// granted is called after the library has read the whole answer, in the goroutine
// that read it.
func (w *wire) granted() (timeout time.Duration, session int64) {
	if len(w.head) < welcomeSize {
		return 0, 0
	}
	return time.Duration(int32(binary.BigEndian.Uint32(w.head[8:]))) * time.Millisecond, int64(binary.BigEndian.Uint64(w.head[12:]))
}
