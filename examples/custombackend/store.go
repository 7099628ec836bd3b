package custombackend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

var bucket = []byte("multilock")

// Store is an open file with leases. Its methods may be called concurrently.
type Store struct {
	db  *bbolt.DB
	now func() time.Time

	mu   sync.Mutex
	subs map[*subscription]struct{}
}

// OpenStore opens or creates the file at path. It fails after a second if another
// process has it open.
func OpenStore(path string) (*Store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return nil, fmt.Errorf("custombackend: open %s: %w", path, err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("custombackend: open %s: %w", path, err), db.Close())
	}
	return &Store{db: db, now: time.Now, subs: map[*subscription]struct{}{}}, nil
}

// Close closes the file. Close the Backends on it first.
func (s *Store) Close() error { return s.db.Close() }

// Backend returns a new client of the store.
func (s *Store) Backend() (*multilock.Backend, error) {
	d, info := s.NewDriver()
	return multilock.NewBackend(d, info)
}

// record is all that is known of a group. It is never deleted: the token and the
// last resigned nonce have to survive the term.
type record struct {
	Nonce       string            `json:"nonce"` // empty after a resignation
	LastNonce   string            `json:"last_nonce"`
	Participant string            `json:"participant"`
	Token       uint64            `json:"token"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	AcquiredAt  int64             `json:"acquired_at_us"`
	TTL         int64             `json:"ttl_us"`
	Expires     int64             `json:"expires_us"`
}

func (r *record) live(now int64) bool { return r.Nonce != "" && now < r.Expires }

// clamp corrects an expiry that lies further ahead than the record's own TTL
// explains, because the clock was stepped back, and reports whether it did.
func (r *record) clamp(now int64) (changed bool) {
	if r.Nonce != "" && r.Expires-now > r.TTL+r.TTL/20 {
		r.Expires = now + r.TTL
		return true
	}
	return false
}

func (r *record) describe(group string, now int64) driver.Record {
	nonce, _ := driver.ParseNonce(r.Nonce) // read checked it
	return driver.Record{
		Term:     driver.Term{Group: group, Participant: r.Participant, Token: r.Token, Nonce: nonce},
		Metadata: r.Metadata, AcquiredAt: time.UnixMicro(r.AcquiredAt),
		TTL: micros(r.TTL), Remaining: min(micros(r.Expires-now), micros(r.TTL)),
	}
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// errDamaged is a record that this package did not write.
var errDamaged = errors.New("custombackend: the record cannot be read")

// read returns the record of group, nil if there is none yet.
func read(tx *bbolt.Tx, group string) (*record, error) {
	data := tx.Bucket(bucket).Get([]byte(group))
	if data == nil {
		return nil, nil
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%w: %v", errDamaged, err)
	}
	if _, err := driver.ParseNonce(r.Nonce); r.Nonce != "" && err != nil || r.TTL < 0 {
		return nil, errDamaged
	}
	return &r, nil
}

func write(tx *bbolt.Tx, group string, r *record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return tx.Bucket(bucket).Put([]byte(group), data)
}

func (s *Store) acquire(req driver.AcquireRequest) (g driver.Grant, err error) {
	nonce, ttl := req.Nonce.String(), req.TTL.Microseconds()
	var held *driver.HeldError
	err = s.db.Update(func(tx *bbolt.Tx) error {
		r, err := read(tx, req.Group)
		if errors.Is(err, errDamaged) {
			// It may be somebody's live lease: nobody is let in until it is cleared up.
			return driver.Misconfigured(err, "delete the key of the group in the bucket multilock")
		}
		if err != nil {
			return err
		}
		if r == nil {
			r = &record{}
		}
		// The clock is read inside the transaction, after the record: nobody can
		// extend the lease between the two.
		now := s.now().UnixMicro()
		clamped := r.clamp(now)
		switch {
		case r.LastNonce == nonce:
			return driver.ErrResigned
		case r.live(now) && r.Nonce == nonce: // the reply to an earlier attempt was lost
			if until := now + ttl; until > r.Expires {
				r.Expires, r.TTL = until, ttl
			}
		case r.live(now):
			// Not an error of the transaction, which would roll the clamp back.
			held = &driver.HeldError{Record: r.describe(req.Group, now)}
			if !clamped {
				return nil
			}
		default:
			r.Nonce, r.Participant, r.Metadata = nonce, req.Participant, req.Metadata
			// The clock keeps tokens increasing even if the file is lost.
			r.Token = max(r.Token+1, uint64(now))
			r.AcquiredAt, r.TTL, r.Expires = now, ttl, now+ttl
		}
		g = driver.Grant{
			Token: r.Token, AcquiredAt: time.UnixMicro(r.AcquiredAt),
			Granted: min(micros(r.Expires-now), req.TTL),
		}
		return write(tx, req.Group, r)
	})
	if err == nil && held != nil {
		return driver.Grant{}, held
	}
	return g, err
}

// renew extends each term by itself: one that is lost does not fail the others,
// which share its transaction.
func (s *Store) renew(reqs []driver.RenewRequest) ([]driver.RenewResult, error) {
	out := make([]driver.RenewResult, len(reqs))
	err := s.db.Update(func(tx *bbolt.Tx) error {
		now := s.now().UnixMicro()
		for i, q := range reqs {
			out[i] = driver.RenewResult{Index: i}
			r, err := read(tx, q.Term.Group)
			if r != nil {
				r.clamp(now)
			}
			if err != nil || r == nil || r.Nonce != q.Term.Nonce.String() || !r.live(now) {
				out[i].Err = driver.ErrLost // a record that cannot be read is not this term's either
				continue
			}
			if until := now + q.TTL.Microseconds(); until > r.Expires { // never shorter
				r.Expires, r.TTL = until, q.TTL.Microseconds()
			}
			if q.Metadata != nil {
				r.Metadata = q.Metadata
			}
			if err := write(tx, q.Term.Group, r); err != nil {
				return err
			}
			out[i].Granted = min(micros(r.Expires-now), q.TTL)
		}
		return nil
	})
	return out, err
}

func (s *Store) resign(t driver.Term) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		r, err := read(tx, t.Group)
		if err != nil || r == nil || r.Nonce != t.Nonce.String() || !r.live(s.now().UnixMicro()) {
			return driver.ErrLost
		}
		r.LastNonce, r.Nonce, r.Expires, r.Metadata = r.Nonce, "", 0, nil
		return write(tx, t.Group, r)
	})
	if err == nil {
		s.wake(t.Group)
	}
	return err
}

func (s *Store) leader(group string) (rec driver.Record, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		r, err := read(tx, group)
		if err != nil {
			return err
		}
		if r == nil {
			return driver.ErrNoLeader
		}
		now := s.now().UnixMicro()
		if r.clamp(now); !r.live(now) {
			return driver.ErrNoLeader
		}
		rec = r.describe(group, now)
		return nil
	})
	return rec, err
}

func (s *Store) ping(ctx context.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.db.View(func(*bbolt.Tx) error { return nil })
}
