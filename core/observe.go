package multilock

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Observer receives what an elector does, for metrics and traces. Observe is
// called in order from a goroutine of the Backend's own; a slow one delays no
// renewal and no event, but observations beyond a few thousand are dropped and
// counted in Stats.
type Observer interface {
	Observe(Observation)
}

// Observation is one finished operation or one transition.
type Observation struct {
	// Op is "acquire", "renew", "resign", "leader", or "change" for a transition.
	Op          string
	Backend     string
	Group       string
	Participant string
	// Token is the token of the term concerned, 0 if there is none.
	Token uint64
	// Start and Duration tell when the request was sent and how long its answer
	// took; for a change Start is when it happened.
	Start    time.Time
	Duration time.Duration
	// Err is nil for a success. For an acquire that found another leader it is a
	// *HeldError.
	Err error
	// Left is, for a renew, the time that was left until the deadline when its
	// answer arrived.
	Left time.Duration
	// Change is set if Op is "change".
	Change *Change
}

// Observers combines several observers into one.
func Observers(list ...Observer) Observer { return observers(list) }

type observers []Observer

func (l observers) Observe(o Observation) {
	for _, x := range l {
		if x != nil {
			x.Observe(o)
		}
	}
}

// maxBacklog bounds what a blocked logger or observer can hold in memory.
const maxBacklog = 8192

// outbox runs loggers and observers in a goroutine of its own that exists only
// while there is something to deliver.
type outbox struct {
	mu      sync.Mutex
	queue   []func()
	running bool
	idle    chan struct{} // closed when the running goroutine ends
	dropped uint64
}

func (x *outbox) put(f func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.queue) >= maxBacklog {
		x.dropped++
		return
	}
	x.queue = append(x.queue, f)
	if !x.running {
		x.running, x.idle = true, make(chan struct{})
		go x.deliver(x.idle)
	}
}

func (x *outbox) deliver(idle chan struct{}) {
	defer close(idle)
	for {
		x.mu.Lock()
		batch := x.queue
		x.queue = nil
		if len(batch) == 0 {
			x.running = false
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
		for _, f := range batch {
			x.call(f)
		}
	}
}

// call keeps a panic of foreign code from ending the process: it cannot tell
// anybody, since the logger may be what failed.
func (x *outbox) call(f func()) {
	defer func() {
		if recover() != nil {
			x.mu.Lock()
			x.dropped++
			x.mu.Unlock()
		}
	}()
	f()
}

// drained returns a channel that is closed when everything put so far was
// delivered, or nil if nothing is pending.
func (x *outbox) drained() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.running {
		return nil
	}
	return x.idle
}

// log hands a record to the elector's logger.
func (e *Elector) log(level slog.Level, msg string, attrs ...slog.Attr) {
	l := e.o.Logger
	if l == nil {
		return
	}
	at := time.Now()
	attrs = append([]slog.Attr{
		slog.String("backend", e.b.info.Name), slog.String("group", e.o.Group), slog.String("participant", e.o.ParticipantID),
	}, attrs...)
	e.b.out.put(func() {
		ctx := context.Background()
		if !l.Enabled(ctx, level) {
			return
		}
		r := slog.NewRecord(at, level, "multilock: "+msg, 0)
		r.AddAttrs(attrs...)
		_ = l.Handler().Handle(ctx, r) // a handler that fails has nowhere to report it
	})
}

// observe hands an observation to the elector's observer.
func (e *Elector) observe(o Observation) {
	if e.o.Observer != nil {
		e.hand(o)
	}
}

// hand is apart from observe so that o is copied to the heap only for somebody.
func (e *Elector) hand(o Observation) {
	o.Backend, o.Group, o.Participant = e.b.info.Name, e.o.Group, e.o.ParticipantID
	e.b.out.put(func() { e.o.Observer.Observe(o) })
}
