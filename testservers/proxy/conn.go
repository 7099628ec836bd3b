package proxy

import (
	"net"
	"sync"
	"time"
)

// conn is one forwarded connection. The fields below client are guarded by the
// proxy's mutex.
type conn struct {
	p      *Proxy
	client net.Conn

	store   net.Conn // nil until dialled
	info    Conn
	stalled bool
	lost    bool // bytes or an end have vanished
	broken  bool // reset was called
	gone    bool // the client has closed its end, or all is over
}

// chunk is what one read returned; no bytes mean the end of the stream.
type chunk struct {
	data []byte
	due  time.Time
}

func (c *conn) run(target string) {
	defer func() {
		c.p.mu.Lock()
		defer c.p.mu.Unlock()
		c.reset()
		delete(c.p.conns, c)
	}()
	store, err := net.DialTimeout("tcp", target, 10*time.Second)
	if err != nil {
		return // the client sees a reset
	}
	c.p.mu.Lock()
	c.store = store
	broken := c.broken
	c.p.mu.Unlock()
	if broken {
		abort(store)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.pump(ToStore, c.client, store) })
	both.Go(func() { c.pump(ToClient, store, c.client) })
	both.Wait()
}

// pump moves bytes one way. Reading goes on while earlier bytes are delayed, so
// that latency is not a limit of throughput.
func (c *conn) pump(d Direction, from, to net.Conn) {
	chunks := make(chan chunk, 4096)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.deliver(d, to, chunks)
	}()
	for {
		buf := make([]byte, 16<<10)
		n, err := from.Read(buf)
		c.p.mu.Lock()
		due := time.Now().Add(c.p.latency)
		if err != nil && d == ToStore {
			c.gone = true
		}
		c.p.mu.Unlock()
		if n > 0 {
			chunks <- chunk{buf[:n], due}
		}
		if err != nil {
			chunks <- chunk{nil, due}
			close(chunks)
			<-done
			return
		}
	}
}

// deliver writes chunks when they are due, or drops them. It returns only when
// the stream has ended or the connection is broken.
func (c *conn) deliver(d Direction, to net.Conn, chunks <-chan chunk) {
	for ch := range chunks {
		if c.wait(d, ch.due) {
			if len(ch.data) == 0 { // the other side must not learn of the end
				c.untilBroken()
				return
			}
			continue
		}
		if len(ch.data) == 0 {
			if t, ok := to.(*net.TCPConn); ok {
				_ = t.CloseWrite()
			}
			return
		}
		// Counted before it is written: whoever sees an answer sees the count of
		// its question.
		c.p.mu.Lock()
		if d == ToStore {
			c.info.ToStore += int64(len(ch.data))
		} else {
			c.info.ToClient += int64(len(ch.data))
		}
		c.p.mu.Unlock()
		if _, err := to.Write(ch.data); err != nil {
			c.p.mu.Lock()
			c.reset()
			c.p.mu.Unlock()
			break
		}
	}
	for range chunks { // let the reader end
	}
}

// wait returns when a chunk is due and not held, and reports whether it
// vanishes.
func (c *conn) wait(d Direction, due time.Time) (vanish bool) {
	for {
		c.p.mu.Lock()
		changed := c.p.changed
		broken := c.broken
		held := c.p.hold&d != 0
		vanish = c.stalled || c.p.swallow&d != 0
		// A shorter latency holds for bytes under way too.
		due = earlier(due, time.Now().Add(c.p.latency))
		left := time.Until(due)
		if !broken && vanish {
			c.lost = true
		}
		c.p.mu.Unlock()
		switch {
		case broken, vanish:
			return vanish
		case held:
			<-changed
		case left > 0:
			t := time.NewTimer(left)
			select {
			case <-changed:
			case <-t.C:
			}
			t.Stop()
		default:
			return false
		}
	}
}

func (c *conn) untilBroken() {
	for {
		c.p.mu.Lock()
		changed, broken := c.p.changed, c.broken
		c.p.mu.Unlock()
		if broken {
			return
		}
		<-changed
	}
}

// reset ends both sides without the polite exchange. It is called with the
// proxy's mutex held.
func (c *conn) reset() {
	if c.broken {
		return
	}
	c.broken, c.gone = true, true
	abort(c.client)
	if c.store != nil {
		abort(c.store)
	}
}

func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
