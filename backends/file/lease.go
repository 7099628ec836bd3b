package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// The protocol. It is written over [disk], so that the model check runs this
// very code. Claims of two processes never depend on a mutex between them, since
// a process that is stopped while it holds a mutex stops everybody.
//
//  1. A term begins by linking a fully written file to the number after the
//     highest one. link fails for all but one: it is the only compare-and-set.
//  2. After the link the owner lists again. A challenger may have been stopped
//     between reading generation N and linking N+1 for so long that N+1 came,
//     went and was swept; then its link succeeds, and a higher generation shows
//     that it must not count.
//  3. The highest generation is never unlinked, and neither is the one below, so
//     that a listing which misses a file being linked still finds the previous.
//  4. A challenger reads the clock and THEN the record. The owner writes a
//     renewal, THEN reads the clock, and lets the renewal count only if that is
//     before the OLD expiry. Whoever claims at clock c >= old expiry has read the
//     record after c; if it did not see the renewal, the renewal was not yet
//     finished at c, and the owner's reading comes after c.
//  5. A reader needs both slots intact and consecutive. One intact slot beside a
//     torn one may be one renewal older than the newest that counts.
//  6. An expiry or a free lock is evidence only for those who share the record's
//     clock. All others need a whole TTL without any change of the record,
//     measured by their own clock from after the first read to before the last.
//  7. A term whose renewal failed for certain is over for good, in memory first.

var (
	errRaced = fmt.Errorf("file: other candidates were faster several times over: %w", driver.ErrNotApplied)
	errTorn  = errors.New("file: the record cannot be read; it counts as held until it has not changed for one TTL")
)

// races is how often an attempt starts over when another candidate links the
// next generation first. Each time somebody else made progress.
const races = 5

// held is a term of this driver, or an attempt at one. Whoever entered it has it
// alone; nobody waits for it longer than its context lives.
type held struct {
	entry chan struct{} // holds one value while somebody is in
	users int           // under fileDriver.mu
	live  bool          // under fileDriver.mu; file != nil, for those outside

	term  driver.Term
	file  recordFile // nil unless the term is live as far as this driver knows
	gen   uint64
	image []byte // what the file begins with, but for the slots
	slot  slot   // the newest that counts
	room  uint32 // where metadata may begin

	acquiredAt time.Time
}

// acquire makes one attempt; h is entered and is not live.
func (d *fileDriver) acquire(ctx context.Context, h *held, req driver.AcquireRequest) (driver.Grant, error) {
	for range races {
		v, err := d.look(req.Group, req.TTL)
		if err != nil {
			return driver.Grant{}, err
		}
		if v.refuses(req.Nonce) {
			return driver.Grant{}, driver.ErrResigned
		}
		if !v.free {
			return driver.Grant{}, &driver.HeldError{Record: v.record(req.Group)}
		}
		if err := ctx.Err(); err != nil {
			return driver.Grant{}, err
		}
		if err := d.ensureGroup(req.Group, v.gen); err != nil {
			return driver.Grant{}, err
		}
		g, err := d.claim(h, req, v)
		if !errors.Is(err, fs.ErrExist) {
			return g, err
		}
	}
	return driver.Grant{}, errRaced
}

// claim links the generation after v. fs.ErrExist says that somebody else did.
func (d *fileDriver) claim(h *held, req driver.AcquireRequest, v view) (driver.Grant, error) {
	now, err := d.disk.clock()
	if err != nil {
		return driver.Grant{}, err
	}
	wall := d.disk.wall()
	rec := record{
		group:       req.Group,
		participant: req.Participant,
		nonce:       req.Nonce,
		token:       max(v.token+1, uint64(max(wall.UnixMicro(), 0))),
		acquiredAt:  time.UnixMicro(wall.UnixMicro()),
		clock:       d.clockID,
		owner:       d.disk.owner(),
	}
	if v.known {
		rec.resigned = v.lastResigned()
	}
	image, s := encodeRecord(rec, slot{expiry: now + req.TTL, ttl: req.TTL, state: stateLive}, req.Metadata)
	f, err := d.disk.stage(image)
	if err != nil {
		return driver.Grant{}, err
	}
	gen := v.gen + 1
	if err := f.publish(req.Group, gen); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			giveUp(f, s) // it may have its number after all
		}
		return driver.Grant{}, errors.Join(err, f.close())
	}

	// Rule 2, and the time this took: a process that was stopped since `now` for
	// longer than its TTL has lost the term before it began.
	gens, err := d.disk.generations(req.Group)
	after, clockErr := d.disk.clock()
	switch {
	case err != nil || clockErr != nil || after >= s.expiry:
		giveUp(f, s)
		err = errors.Join(err, clockErr)
		if err == nil {
			err = fmt.Errorf("file: the attempt took longer than the TTL: %w", driver.ErrNotApplied)
		}
		return driver.Grant{}, errors.Join(err, f.close())
	case len(gens) == 0 || gens[len(gens)-1] != gen:
		return driver.Grant{}, errors.Join(fs.ErrExist, f.close())
	}

	h.term = driver.Term{Group: req.Group, Participant: req.Participant, Token: rec.token, Nonce: req.Nonce}
	h.file, h.gen, h.slot, h.acquiredAt = f, gen, s, rec.acquiredAt
	h.image, h.room = slices.Clone(frozenPart(image)), s.meta.offset
	d.begin(h)
	d.forget(req.Group)
	for _, g := range gens {
		if g+1 < gen {
			// Best effort: what stays is swept by the next term.
			_ = d.disk.remove(req.Group, g)
		}
	}
	return driver.Grant{Token: rec.token, Granted: req.TTL, AcquiredAt: rec.acquiredAt}, nil
}

// giveUp says in the file that its term is over, so that nobody waits for an
// expiry that its owner does not believe in. Best effort: the expiry is there.
func giveUp(f recordFile, s slot) {
	s.seq++
	s.state = stateOver
	_ = f.write(s.encode(), s.offset())
}

// extend renews a live term; h is entered. After ErrLost the term is over.
func (d *fileDriver) extend(h *held, ttl time.Duration, metadata map[string]string) (time.Duration, error) {
	now, err := d.disk.clock()
	if err != nil {
		return 0, err
	}
	if now >= h.slot.expiry {
		return 0, d.lose(h)
	}
	// A file that somebody else has overwritten is not repaired.
	if ok, err := h.file.begins(h.image); err != nil {
		return 0, err
	} else if !ok {
		return 0, d.expel(h)
	}
	next := h.slot
	next.seq++
	next.expiry = max(h.slot.expiry, now+ttl)
	next.ttl = max(ttl, next.expiry-now)
	if metadata != nil {
		text := encodeMetadata(metadata)
		next.meta = metadataRoom(h.room, h.slot.meta, len(text))
		next.meta.crc = checksum(text)
		if len(text) > 0 {
			if err := h.file.write(text, int64(next.meta.offset)); err != nil {
				return 0, err
			}
		}
	}
	if err := h.file.write(next.encode(), next.offset()); err != nil {
		return 0, err
	}
	// Rule 4: what a challenger could not see before the old expiry is no renewal.
	after, err := d.disk.clock()
	if err != nil {
		return 0, err
	}
	if after >= h.slot.expiry {
		h.slot.seq = next.seq
		return 0, d.lose(h)
	}
	first, err := d.highest(h)
	if err != nil {
		return 0, err
	}
	if !first {
		return 0, d.expel(h)
	}
	h.slot = next
	return ttl, nil
}

// stillMine reports whether the term's file is as it was made, in its place, and
// the group's highest.
func (d *fileDriver) stillMine(h *held) (bool, error) {
	if ok, err := h.file.begins(h.image); err != nil || !ok {
		return false, err
	}
	return d.highest(h)
}

// highest reports whether the term's file is in its place and the group's highest.
func (d *fileDriver) highest(h *held) (bool, error) {
	if ok, err := h.file.inPlace(); err != nil || !ok {
		return false, err
	}
	gens, err := d.disk.generations(h.term.Group)
	if err != nil {
		return false, err
	}
	return len(gens) > 0 && gens[len(gens)-1] == h.gen, nil
}

// lose ends a term that has expired and returns ErrLost.
func (d *fileDriver) lose(h *held) error {
	if ok, err := h.file.begins(h.image); err == nil && ok {
		giveUp(h.file, h.slot)
	}
	return d.expel(h)
}

// expel ends a term whose record was removed, replaced or overwritten, and
// returns ErrLost.
func (d *fileDriver) expel(h *held) error {
	d.drop(h)
	return driver.ErrLost
}

// resign ends a live term; h is entered. After nil or ErrLost the term is over.
func (d *fileDriver) resign(h *held) error {
	now, err := d.disk.clock()
	if err != nil {
		return err
	}
	if now >= h.slot.expiry {
		return d.lose(h)
	}
	mine, err := d.stillMine(h)
	if err != nil {
		return err
	}
	if !mine {
		return d.expel(h)
	}
	next := h.slot
	next.seq++
	next.state = stateResigned
	if err := h.file.write(next.encode(), next.offset()); err != nil {
		return err
	}
	d.drop(h)
	return nil
}
