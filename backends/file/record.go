package file

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// The format of a generation file. All numbers are big-endian.
//
//	  0  magic "MLLEASE1"
//	  8  length of the body, CRC-32C of the body
//	 64  slot 0, 64 bytes
//	128  slot 1, 64 bytes
//	192  body: JSON, never changed, fsynced before the file gets its number
//	  …  metadata: JSON, in a region of its own that the newest slot points to
//
// A renewal writes the slot with the lower sequence number in one pwrite. The
// slots lie in one sector and carry their own CRC, so a reader knows a slot that
// it caught half-written, and then uses neither: the other slot alone could be
// one renewal too old (see lease.go).
const (
	recordMagic = "MLLEASE1"
	slotOffset  = 64
	slotSize    = 64
	bodyOffset  = slotOffset + 2*slotSize
	metaAlign   = 64
	// maxRecord bounds what a reader takes in. Two metadata regions of 100
	// entries of 255 + 4000 bytes, JSON-escaped, stay below it.
	maxRecord = 8 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// lockRef names the liveness lock file of a Backend. The inode tells a restored
// or copied directory from the original.
type lockRef struct {
	Name  string
	Inode uint64
}

// record is the part of a generation file that never changes.
type record struct {
	group       string
	participant string
	nonce       driver.Nonce
	token       uint64
	acquiredAt  time.Time
	// clock is the identity of the clock that the slots' expiries are read from.
	clock string
	owner lockRef
	// resigned is the nonce of the last term before this one that resigned.
	resigned driver.Nonce
}

// body is the JSON form of record: readable with `strings`, and strict enough
// with the CRC over it.
type body struct {
	Group       string `json:"group"`
	Participant string `json:"participant"`
	Nonce       string `json:"nonce"`
	Token       uint64 `json:"token"`
	AcquiredAt  int64  `json:"acquired_at_us"`
	Clock       string `json:"clock"`
	Lock        string `json:"lock"`
	LockInode   uint64 `json:"lock_inode"`
	Resigned    string `json:"resigned,omitempty"`
}

// state is what a slot says about the term.
type state uint32

const (
	stateLive     state = 1
	stateResigned state = 2 // ended by Resign: the nonce is refused from now on
	stateOver     state = 3 // given up by its owner after it had expired
)

// slot is the part of a record that its owner rewrites.
type slot struct {
	seq uint64
	// expiry is read from the clock that the record names.
	expiry time.Duration
	// ttl is never less than what expiry was ahead of the clock when it was
	// written, so that a reader can tell an expiry that no clock of this boot can
	// have produced.
	ttl   time.Duration
	state state
	meta  region
}

// region is where the metadata lie in the file.
type region struct {
	offset, length uint32
	crc            uint32
}

func (r region) end() uint32 { return r.offset + r.length }

func (s slot) encode() []byte {
	p := make([]byte, slotSize)
	binary.BigEndian.PutUint64(p[0:], s.seq)
	binary.BigEndian.PutUint64(p[8:], uint64(s.expiry))
	binary.BigEndian.PutUint64(p[16:], uint64(s.ttl))
	binary.BigEndian.PutUint32(p[24:], uint32(s.state))
	binary.BigEndian.PutUint32(p[28:], s.meta.offset)
	binary.BigEndian.PutUint32(p[32:], s.meta.length)
	binary.BigEndian.PutUint32(p[36:], s.meta.crc)
	binary.BigEndian.PutUint32(p[slotSize-4:], checksum(p[:slotSize-4]))
	return p
}

// offset is where the slot belongs: consecutive ones alternate.
func (s slot) offset() int64 { return slotOffset + slotSize*int64(s.seq%2) }

func decodeSlot(p []byte) (slot, bool) {
	if binary.BigEndian.Uint32(p[slotSize-4:]) != checksum(p[:slotSize-4]) {
		return slot{}, false
	}
	s := slot{
		seq:    binary.BigEndian.Uint64(p[0:]),
		expiry: time.Duration(binary.BigEndian.Uint64(p[8:])),
		ttl:    time.Duration(binary.BigEndian.Uint64(p[16:])),
		state:  state(binary.BigEndian.Uint32(p[24:])),
		meta: region{
			offset: binary.BigEndian.Uint32(p[28:]),
			length: binary.BigEndian.Uint32(p[32:]),
			crc:    binary.BigEndian.Uint32(p[36:]),
		},
	}
	if s.expiry < 0 || s.ttl <= 0 || s.state < stateLive || s.state > stateOver {
		return slot{}, false
	}
	return s, true
}

// decodeSlots returns the newest slot. It fails if either slot is torn or if
// they are not consecutive, which happens only when a reader was overtaken by
// two renewals: then neither says what was true at one moment, and the slot
// returned holds nothing but the longest TTL that can be read.
func decodeSlots(image []byte) (slot, bool) {
	if len(image) < bodyOffset {
		return slot{}, false
	}
	a, okA := decodeSlot(image[slotOffset : slotOffset+slotSize])
	b, okB := decodeSlot(image[slotOffset+slotSize : bodyOffset])
	if okA && okB && a.seq%2 == 0 && b.seq%2 == 1 {
		switch {
		case b.seq == a.seq+1:
			return b, true
		case a.seq == b.seq+1:
			return a, true
		}
	}
	return slot{ttl: max(a.ttl, b.ttl)}, false
}

func encodeMetadata(m map[string]string) []byte {
	if len(m) == 0 {
		return nil
	}
	p, err := json.Marshal(m)
	if err != nil {
		panic(err) // a map of strings always encodes
	}
	return p
}

// encodeRecord returns the image of a new generation file and the slot in force.
func encodeRecord(r record, s slot, metadata map[string]string) ([]byte, slot) {
	b := body{
		Group:       r.group,
		Participant: r.participant,
		Nonce:       r.nonce.String(),
		Token:       r.token,
		AcquiredAt:  r.acquiredAt.UnixMicro(),
		Clock:       r.clock,
		Lock:        r.owner.Name,
		LockInode:   r.owner.Inode,
	}
	if !r.resigned.IsZero() {
		b.Resigned = r.resigned.String()
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	meta := encodeMetadata(metadata)
	s.meta = region{offset: align(bodyOffset + uint32(len(text))), length: uint32(len(meta)), crc: checksum(meta)}

	image := make([]byte, s.meta.end())
	copy(image, recordMagic)
	binary.BigEndian.PutUint32(image[8:], uint32(len(text)))
	binary.BigEndian.PutUint32(image[12:], checksum(text))
	for seq := range uint64(2) {
		s.seq = seq
		copy(image[s.offset():], s.encode())
	}
	copy(image[bodyOffset:], text)
	copy(image[s.meta.offset:], meta)
	return image, s
}

func align(n uint32) uint32 { return (n + metaAlign - 1) / metaAlign * metaAlign }

var errRecord = errors.New("file: not a record of this version, or damaged")

// decodeRecord reads the immutable part.
func decodeRecord(image []byte) (record, error) {
	if len(image) < bodyOffset || string(image[:8]) != recordMagic {
		return record{}, errRecord
	}
	n := binary.BigEndian.Uint32(image[8:])
	if uint64(n) > uint64(len(image)-bodyOffset) {
		return record{}, errRecord
	}
	text := image[bodyOffset : bodyOffset+n]
	if checksum(text) != binary.BigEndian.Uint32(image[12:]) {
		return record{}, errRecord
	}
	var b body
	if err := json.Unmarshal(text, &b); err != nil {
		return record{}, fmt.Errorf("%w: %w", errRecord, err)
	}
	r := record{
		group:       b.Group,
		participant: b.Participant,
		token:       b.Token,
		acquiredAt:  time.UnixMicro(b.AcquiredAt),
		clock:       b.Clock,
		owner:       lockRef{Name: b.Lock, Inode: b.LockInode},
	}
	var err error
	if r.nonce, err = driver.ParseNonce(b.Nonce); err != nil {
		return record{}, errRecord
	}
	if b.Resigned != "" {
		if r.resigned, err = driver.ParseNonce(b.Resigned); err != nil {
			return record{}, errRecord
		}
	}
	return r, nil
}

// frozenPart is what never changes of a record's file, up to the metadata.
func frozenPart(image []byte) []byte {
	return image[:bodyOffset+binary.BigEndian.Uint32(image[8:])]
}

// sameRecord reports whether two files of one length are the same but for their
// slots.
func sameRecord(a, b []byte) bool {
	return bytes.Equal(a[:slotOffset], b[:slotOffset]) && bytes.Equal(a[bodyOffset:], b[bodyOffset:])
}

// decodeMetadata reads the metadata a slot points to. Damage there is no reason
// to doubt the lease: the caller shows none.
func decodeMetadata(image []byte, at region) (map[string]string, bool) {
	if at.length == 0 {
		return nil, true
	}
	if uint64(at.offset)+uint64(at.length) > uint64(len(image)) {
		return nil, false
	}
	p := image[at.offset : at.offset+at.length]
	if checksum(p) != at.crc {
		return nil, false
	}
	var m map[string]string
	if json.Unmarshal(p, &m) != nil {
		return nil, false
	}
	return m, true
}

// metadataRoom picks where changed metadata of n bytes go: never over the region
// in force, which readers may still follow, and in front of it where they fit,
// so that the file does not grow with every change.
func metadataRoom(first uint32, inForce region, n int) region {
	r := region{offset: first, length: uint32(n)}
	if inForce.length > 0 && r.end() > inForce.offset {
		r.offset = align(inForce.end())
	}
	return r
}
