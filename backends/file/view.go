package file

import (
	"errors"
	"hash/maphash"
	"io/fs"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// view is a group as one reader saw it at one moment.
type view struct {
	gen   uint64 // the highest generation; 0 if there is none
	known bool   // rec is valid
	rec   record
	whole bool // slot is valid
	slot  slot // only its ttl counts unless whole
	image []byte

	free bool
	// remaining is until the record can be claimed unless it changes.
	remaining time.Duration
	// token is the highest token known to have been used.
	token uint64
	// dead says that the owner's lock is free.
	dead bool
}

// look reads the clock, then the group, and judges whether the group is free.
// ttl is what an unreadable record is given.
func (d *fileDriver) look(group string, ttl time.Duration) (view, error) {
	for range races {
		now, err := d.disk.clock()
		if err != nil {
			return view{}, err
		}
		gens, err := d.disk.generations(group)
		if err != nil {
			return view{}, err
		}
		if len(gens) == 0 {
			return view{free: true}, nil
		}
		v := view{gen: gens[len(gens)-1]}
		err = d.read(&v, group)
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept meanwhile: two newer generations came
		}
		if err != nil {
			return view{}, err
		}
		if !v.known && len(gens) > 1 {
			below := view{gen: gens[len(gens)-2]}
			if d.read(&below, group) == nil && below.known {
				v.token = below.rec.token
			}
		}
		return v, d.judge(&v, group, now, ttl)
	}
	return view{}, errRaced
}

// read loads a generation, again if it is caught half-written.
func (d *fileDriver) read(v *view, group string) error {
	for range 3 {
		image, err := d.disk.load(group, v.gen)
		if err != nil {
			return err
		}
		v.image = image
		v.rec, err = decodeRecord(image)
		v.known = err == nil && v.rec.group == group
		if !v.known {
			return nil
		}
		v.token = v.rec.token
		if v.slot, v.whole = decodeSlots(image); v.whole {
			return nil
		}
	}
	return nil
}

// judge decides whether the record may be claimed. now was read before v.
func (d *fileDriver) judge(v *view, group string, now, ttl time.Duration) error {
	if v.known && v.whole && v.slot.state != stateLive {
		v.free = true // its owner says so
		return nil
	}
	if v.known && v.rec.clock == d.clockID {
		// An expiry further ahead than its TTL was not written by this clock,
		// whatever the record says.
		left := v.slot.expiry - now
		sane := v.whole && left <= v.slot.ttl+v.slot.ttl/20
		v.dead = d.disk.probe(v.rec.owner) == ownerDead
		if v.dead || sane && left <= 0 {
			v.free = true
			return nil
		}
		if sane {
			v.remaining = min(left, v.slot.ttl)
			return nil
		}
	}
	if v.whole {
		ttl = v.slot.ttl
	} else {
		ttl = max(ttl, v.slot.ttl)
	}
	still, err := d.unchanged(group, v, now)
	v.remaining = max(ttl-still, 0)
	v.free = v.remaining == 0
	return err
}

// sighting is when a record was first seen as it is, by this process's clock.
type sighting struct {
	gen    uint64
	digest uint64
	since  time.Duration
}

// unchanged returns for how long the record has certainly been as it is now.
// before was read before v was.
func (d *fileDriver) unchanged(group string, v *view, before time.Duration) (time.Duration, error) {
	seen := sighting{gen: v.gen, digest: maphash.Bytes(d.seed, v.image)}
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, ok := d.seen[group]; ok && old.gen == seen.gen && old.digest == seen.digest {
		return max(before-old.since, 0), nil
	}
	var err error
	if seen.since, err = d.disk.clock(); err != nil {
		return 0, err
	}
	d.seen[group] = seen
	return 0, nil
}

// forget drops the sighting of a group that this process need not time.
func (d *fileDriver) forget(group string) {
	d.mu.Lock()
	delete(d.seen, group)
	d.mu.Unlock()
}

// record returns what a view tells people.
func (v *view) record(group string) driver.Record {
	r := driver.Record{Term: driver.Term{Group: group}, Remaining: v.remaining}
	if v.known {
		r.Participant, r.Token, r.Nonce = v.rec.participant, v.rec.token, v.rec.nonce
		r.AcquiredAt = v.rec.acquiredAt
	}
	if v.whole {
		r.TTL = v.slot.ttl
		r.Metadata, _ = decodeMetadata(v.image, v.slot.meta)
	}
	return r
}

// refuses reports whether n is the nonce that resigned last.
func (v *view) refuses(n driver.Nonce) bool {
	return v.known && n == v.lastResigned()
}

func (v *view) lastResigned() driver.Nonce {
	if v.whole && v.slot.state == stateResigned {
		return v.rec.nonce
	}
	return v.rec.resigned
}
