package multilock

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Elector takes part in the election of one group. All methods may be called
// concurrently. An elector can be started and stopped any number of times.
type Elector struct {
	b *Backend
	o Options // resolved; its Metadata is only the initial one

	// current is the term IsLeader answers for, nil while not leading.
	current atomic.Pointer[live]
	// meta is what is stored with the term; metaSent the version last confirmed.
	meta     atomic.Pointer[metadataVersion]
	metaSent atomic.Uint64

	mu       sync.Mutex
	run      *run // nil while stopped
	events   feed
	observed Record // the leader last seen, the zero Record if nobody is known
	seenAt   time.Time
	lastErr  error
	workErr  error // of work that returned after its term; carried by the next change
	lastTry  time.Time
	nextTry  time.Time
}

type metadataVersion struct {
	m       map[string]string
	version uint64
}

// New makes an elector on a backend. It does no I/O and does not start to
// campaign. The error joins an *InvalidError for every fault in o.
func New(b *Backend, o Options) (*Elector, error) {
	if b == nil {
		return nil, &InvalidError{Field: "backend", Allowed: "must not be nil"}
	}
	o, err := o.resolve(b.info)
	if err != nil {
		return nil, err
	}
	e := &Elector{b: b, o: o}
	e.events.tail = newFeedNode()
	e.meta.Store(&metadataVersion{m: o.Metadata, version: 1})
	return e, nil
}

// Group returns the group the elector takes part in.
func (e *Elector) Group() string { return e.o.Group }

// ParticipantID returns the elector's name for people.
func (e *Elector) ParticipantID() string { return e.o.ParticipantID }

// Backend returns the backend the elector was made on.
func (e *Elector) Backend() *Backend { return e.b }

// Options returns the options with all defaults filled in.
func (e *Elector) Options() Options {
	o := e.o
	o.Metadata = maps.Clone(e.meta.Load().m)
	return o
}

// WorstCaseFailover is the longest time from the crash of a leader with this
// elector's HeartbeatTimeout until a running follower leads, if the store answers:
// the backend's worst-case expiry and the spread. It does not include the time of
// a request. Electors of one group should have one HeartbeatTimeout; if they do
// not, the largest one counts.
func (e *Elector) WorstCaseFailover() time.Duration {
	return e.b.info.WorstCaseExpiry(e.o.HeartbeatTimeout) + e.o.Spread
}

// IsLeader reports whether this elector leads at this very moment. It looks at
// the clocks each time and takes about as long as time.Now; it does no I/O.
func (e *Elector) IsLeader() bool {
	l := e.current.Load()
	return l != nil && l.alive()
}

// Term returns the term this elector leads with, and false if it does not lead at
// this very moment.
func (e *Elector) Term() (Term, bool) {
	l := e.current.Load()
	if l == nil || !l.alive() {
		return Term{}, false
	}
	return l.term, true
}

// Leader reads from the store who leads. The error is ErrNoLeader if nobody does,
// a time-out after Options.LockTimeout, or what the store reports. It works on a
// stopped elector too.
func (e *Elector) Leader(ctx context.Context) (Record, error) {
	start := time.Now()
	rec, err := e.b.leader(ctx, e.o.Group, e.o.LockTimeout)
	e.observe(Observation{Op: "leader", Token: rec.Token, Start: start, Duration: time.Since(start), Err: err})
	switch {
	case err == nil:
		e.observed1(rec)
	case errors.Is(err, ErrNoLeader):
		e.observed1(Record{})
	}
	return rec, err
}

// SetMetadata replaces the metadata stored with the term. It returns at once: the
// next renewal, or the next acquisition, carries it.
func (e *Elector) SetMetadata(m map[string]string) error {
	if err := checkMetadata("metadata", m); err != nil {
		return err
	}
	m = maps.Clone(m)
	if m == nil {
		m = map[string]string{} // nil would mean unchanged to a driver
	}
	for {
		old := e.meta.Load()
		if e.meta.CompareAndSwap(old, &metadataVersion{m: m, version: old.version + 1}) {
			return nil
		}
	}
}

// metadata returns what a renewal has to carry, nil if nothing changed.
func (e *Elector) metadata() *metadataVersion {
	if v := e.meta.Load(); v.version > e.metaSent.Load() {
		return v
	}
	return &metadataVersion{}
}

// metadataSent notes that the store has version v.
func (e *Elector) metadataSent(v uint64) {
	for {
		old := e.metaSent.Load()
		if v <= old || e.metaSent.CompareAndSwap(old, v) {
			return
		}
	}
}

// publish appends a change and tells logger and observer; the lock is held.
func (e *Elector) publish(c Change) {
	c.At = time.Now()
	if e.workErr != nil && c.Kind != Acquired {
		c.Cause = errors.Join(c.Cause, e.workErr)
		e.workErr = nil
	}
	e.events.publish(&c)
	if e.o.Observer != nil {
		own := c // it may write to it
		e.observe(Observation{Op: "change", Token: c.Term.Token, Start: c.At, Change: &own})
	}
	if e.o.Logger != nil {
		e.logChange(c)
	}
}

func (e *Elector) logChange(c Change) {
	token := slog.Uint64("token", c.Term.Token)
	cause := slog.Any("cause", c.Cause)
	switch c.Kind {
	case Acquired:
		e.log(slog.LevelInfo, "leading", token)
	case Lost:
		if errors.Is(c.Cause, ErrLost) {
			e.log(slog.LevelWarn, "lost leadership", token, cause)
		} else {
			e.log(slog.LevelInfo, "stepped down", token, cause)
		}
	case Changed:
		e.log(slog.LevelInfo, "another leads", slog.String("leader", c.Leader.Participant), slog.Uint64("leader_token", c.Leader.Token))
	case Overrun:
		e.log(slog.LevelError, "work is running without a term", token, cause)
	case Stopped:
		e.log(slog.LevelInfo, "stopped", cause)
	}
}

// observed1 notes the leader seen at the store and publishes a change of it.
func (e *Elector) observed1(rec Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noteLeader(rec)
}

func (e *Elector) noteLeader(rec Record) {
	e.seenAt = time.Now()
	was := e.observed
	e.observed = rec
	if was.Token == rec.Token && was.Participant == rec.Participant {
		return
	}
	if l := e.current.Load(); l != nil && l.term.Token == rec.Token {
		return // ourselves
	}
	if e.run == nil {
		return // a stopped elector has no sequence to put it in
	}
	e.publish(Change{Kind: Changed, Leader: rec})
}
