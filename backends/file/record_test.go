package file

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

func sampleRecord() (record, slot, map[string]string) {
	return record{
			group:       "Orders.EU-1",
			participant: "host-1",
			nonce:       driver.Nonce{1, 2, 3},
			token:       1 << 62,
			acquiredAt:  time.UnixMicro(1_700_000_000_000_001),
			clock:       "linux/boot/1",
			owner:       lockRef{Name: strings.Repeat("ab", 16) + lockSuffix, Inode: 42},
			resigned:    driver.Nonce{9},
		}, slot{expiry: 5 * time.Hour, ttl: time.Second, state: stateLive},
		map[string]string{"zone": "a", "empty": "", "quote": "\"\n\u2028"}
}

func TestRecordRoundTrip(t *testing.T) {
	rec, s, meta := sampleRecord()
	image, inForce := encodeRecord(rec, s, meta)
	got, err := decodeRecord(image)
	if err != nil {
		t.Fatal(err)
	}
	if !got.acquiredAt.Equal(rec.acquiredAt) {
		t.Errorf("acquired at %v, want %v", got.acquiredAt, rec.acquiredAt)
	}
	got.acquiredAt = rec.acquiredAt
	if got != rec {
		t.Errorf("decoded %+v, want %+v", got, rec)
	}
	gotSlot, whole := decodeSlots(image)
	if !whole || gotSlot != inForce {
		t.Errorf("slot %+v (whole %v), want %+v", gotSlot, whole, inForce)
	}
	if m, ok := decodeMetadata(image, gotSlot.meta); !ok || !maps.Equal(m, meta) {
		t.Errorf("metadata %v (%v), want %v", m, ok, meta)
	}
}

// TestTornSlotHidesTheOther: a reader that catches one slot half-written must
// not use the other, which may be one renewal too old.
func TestTornSlotHidesTheOther(t *testing.T) {
	rec, s, meta := sampleRecord()
	image, inForce := encodeRecord(rec, s, meta)
	next := inForce
	next.seq++
	next.expiry += time.Second
	for n := 1; n < slotSize; n++ {
		torn := slices.Clone(image)
		copy(torn[next.offset():], next.encode()[:n])
		if bytes.Equal(torn, image) {
			continue
		}
		if got, whole := decodeSlots(torn); whole && got != next {
			t.Errorf("after %d bytes: %+v", n, got)
		}
	}
	if got, whole := decodeSlots(image[:bodyOffset-1]); whole {
		t.Errorf("a short file gave %+v", got)
	}
	// Overtaken by two renewals: sequence numbers that are not neighbours.
	next.seq++
	next.seq++
	copy(image[next.offset():], next.encode())
	if got, whole := decodeSlots(image); whole {
		t.Errorf("slots that are not consecutive gave %+v", got)
	} else if got.ttl != s.ttl {
		t.Errorf("the longest TTL was not kept: %v", got.ttl)
	}
}

// TestDamageIsNoticed flips every bit of the parts that decide.
func TestDamageIsNoticed(t *testing.T) {
	rec, s, meta := sampleRecord()
	image, inForce := encodeRecord(rec, s, meta)
	for i := range len(image) {
		if i >= 16 && i < slotOffset {
			continue // unused
		}
		for bit := range 8 {
			bad := slices.Clone(image)
			bad[i] ^= 1 << bit
			_, err := decodeRecord(bad)
			_, whole := decodeSlots(bad)
			m, ok := decodeMetadata(bad, inForce.meta)
			if err == nil && whole && ok && maps.Equal(m, meta) && i < int(inForce.meta.offset)-metaAlign {
				t.Fatalf("bit %d of byte %d is not protected", bit, i)
			}
		}
	}
}

func TestMetadataRoom(t *testing.T) {
	first := region{offset: 256, length: 100}
	for _, n := range []int{0, 1, 99, 100, 101, 5000} {
		r := metadataRoom(256, first, n)
		if n > 0 && r.offset < first.end() && r.end() > first.offset {
			t.Errorf("%d bytes at %d overlap the region in force", n, r.offset)
		}
		back := metadataRoom(256, r, 100)
		if n > 0 && back.offset < r.end() && back.end() > r.offset {
			t.Errorf("100 bytes at %d overlap %v", back.offset, r)
		}
	}
	// Changing metadata of one size for ever does not let the file grow for ever.
	at, limit := first, uint32(0)
	for range 1000 {
		at = metadataRoom(256, at, 100)
		limit = max(limit, at.end())
	}
	if limit > 256+4*metaAlign+100 {
		t.Errorf("the file grew to %d", limit)
	}
}

func TestNames(t *testing.T) {
	names := []string{
		"a", "A", "a.b", "a_b", "a-b", "A.b", "con", "CON", "aux.x", "nul.leader", "...", "-", "_", "0",
		strings.Repeat("x", 255), strings.Repeat("x", 254), strings.Repeat("x", 254) + "X",
		"group", "owners", "staging",
	}
	seen := map[string]string{}
	for _, n := range names {
		dir := groupDirectory(n, ".leader")
		if dir != strings.ToLower(dir) || strings.ContainsAny(strings.TrimSuffix(dir, ".leader"), `./\:`) || len(dir) > 100 {
			t.Errorf("%q → %q", n, dir)
		}
		if other, ok := seen[dir]; ok {
			t.Errorf("%q and %q share %q", n, other, dir)
		}
		seen[dir] = n
	}
	for _, gen := range []uint64{1, 9, 10, 1 << 63, ^uint64(0)} {
		if got := parseGeneration(generationName(gen)); got != gen {
			t.Errorf("generation %d → %q → %d", gen, generationName(gen), got)
		}
	}
	for _, bad := range []string{"", "1", "group", "0000000000000000000x", "+0000000000000000001", "00000000000000000001.tmp", "99999999999999999999"} {
		if got := parseGeneration(bad); got != 0 {
			t.Errorf("%q is generation %d", bad, got)
		}
	}
	for _, bad := range []string{"", ".lock", "../../etc/passwd", strings.Repeat("A", 32) + ".lock", strings.Repeat("a", 31) + "/.lock", strings.Repeat("a", 32)} {
		if validLockName(bad) {
			t.Errorf("%q is taken for a lock file", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	rec, s, meta := sampleRecord()
	image, _ := encodeRecord(rec, s, meta)
	f.Add(image)
	f.Add(image[:bodyOffset])
	bare, _ := encodeRecord(record{group: "g", nonce: driver.Nonce{1}}, slot{ttl: 1, state: stateResigned}, nil)
	f.Add(bare)
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, image []byte) {
		rec, err := decodeRecord(image)
		s, whole := decodeSlots(image)
		m, _ := decodeMetadata(image, s.meta)
		if err != nil || !whole {
			return
		}
		// What was read must survive being written: nothing is read that is not there.
		again, _ := encodeRecord(rec, s, m)
		back, err := decodeRecord(again)
		if err != nil {
			t.Fatalf("cannot read back %+v: %v", rec, err)
		}
		if back.token != rec.token || back.nonce != rec.nonce || back.owner.Inode != rec.owner.Inode {
			t.Fatalf("read back %+v, wrote %+v", back, rec)
		}
		if got, ok := decodeSlots(again); !ok || got.expiry != s.expiry || got.state != s.state {
			t.Fatalf("slot %+v, wrote %+v", got, s)
		}
	})
}
