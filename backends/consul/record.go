package consul

import (
	"encoding/json"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// record is the value of a group's key, as JSON. While the key is locked it
// describes the term that holds it; afterwards it is history, of which only
// Ended matters.
type record struct {
	// Format is recordFormat. A value without it was written by somebody else.
	Format      int    `json:"multilock"`
	Nonce       string `json:"nonce,omitempty"`
	Participant string `json:"participant,omitempty"`
	// Token is 0 in the write that acquires, since the index of a transaction is
	// known only afterwards: the key's own index is the token then. Later writes,
	// which move the index, carry it.
	Token      uint64            `json:"token,omitempty"`
	AcquiredAt time.Time         `json:"acquired_at,omitzero"`
	TTL        int64             `json:"ttl_ms,omitempty"`
	LockDelay  int64             `json:"lock_delay_ms,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	// Ended is the nonce that resigned last. It may not acquire again.
	Ended string `json:"ended,omitempty"`
	// Void makes a write differ from what it replaces: Consul leaves the index
	// alone, and so lets a late transaction through, if nothing changes.
	Void string `json:"void,omitempty"`
}

const recordFormat = 1

// recordFlags marks the keys of this package for people who look at them.
const recordFlags = 0x6d756c74696c6f63

// decode reads the value of a key. The zero record stands for a missing key and
// for a value somebody else wrote.
func decode(p *api.KVPair) record {
	var r record
	if p == nil || json.Unmarshal(p.Value, &r) != nil || r.Format != recordFormat {
		return record{}
	}
	return r
}

func (r record) encode() []byte {
	r.Format = recordFormat
	b, err := json.Marshal(r)
	if err != nil {
		panic("consul: cannot happen: " + err.Error()) // strings, numbers and a time only
	}
	return b
}

// token is that of the term described by the value of p.
func (r record) token(p *api.KVPair) uint64 {
	if r.Token != 0 {
		return r.Token
	}
	return p.ModifyIndex
}

// term describes the live term of a locked key as far as its value tells.
func (r record) term(group string, p *api.KVPair) driver.Record {
	rec := driver.Record{Term: driver.Term{Group: group}, Remaining: driver.RemainingUnknown}
	if r.Format == 0 {
		return rec
	}
	rec.Participant, rec.Token = r.Participant, r.token(p)
	rec.Nonce, _ = driver.ParseNonce(r.Nonce) // zero if somebody tampered with it
	rec.Metadata, rec.AcquiredAt = r.Metadata, r.AcquiredAt
	rec.TTL = time.Duration(r.TTL) * time.Millisecond
	return rec
}

func locked(p *api.KVPair) bool { return p != nil && p.Session != "" }

// key is where a group lives. Groups hold no slash, so nothing else is there.
func (s *store) key(group string) string { return s.prefix + group }

// bells is the number of doorbell keys. All participants must agree on it.
const bells = 4

func bellOf(group string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(group)) // never fails
	return int(h.Sum32() % bells)
}

// bellKey cannot be the key of a group: it has a slash more.
func (s *store) bellKey(n int) string { return s.prefix + ".bell/" + strconv.Itoa(n) }

// ring is the value of a doorbell key: which group was freed last.
type ring struct {
	Group string `json:"group"`
}

func (r ring) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("consul: cannot happen: " + err.Error())
	}
	return b
}

// decodeRing reads the value of a doorbell key; what cannot be read is no ring of
// any group.
func decodeRing(p *api.KVPair) ring {
	var r ring
	if p == nil || json.Unmarshal(p.Value, &r) != nil {
		return ring{}
	}
	return r
}

func prefixOf(keyPrefix string) string { return strings.TrimRight(keyPrefix, "/") + "/" }
