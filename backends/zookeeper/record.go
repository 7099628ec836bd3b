package zookeeper

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// recordFormat marks our nodes, so that data of another program is never taken
// for a record.
const recordFormat = "multilock/1"

// maxRecord keeps a record below the default size limit of servers, which close
// the connection over a larger one.
const maxRecord = 1000 << 10

// lockRecord is the data of a lock node. Token and time of acquisition are not
// in it: they are the node's creating transaction and its time.
type lockRecord struct {
	Format      string            `json:"format"`
	Nonce       string            `json:"nonce"`
	Participant string            `json:"participant"`
	TTL         time.Duration     `json:"ttl"`
	Metadata    map[string]string `json:"metadata,omitempty"`
	// Version is that of the group node since this acquisition, so that whoever
	// has seen the record knows it without another read; see outlook.
	Version int32 `json:"version,omitempty"`
}

// groupRecord is the data of a group node, which outlives all terms.
type groupRecord struct {
	Format string `json:"format"`
	// Resigned is the nonce that resigned last.
	Resigned string `json:"resigned,omitempty"`
}

func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings, a duration and a map of strings always encode
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func encodeLock(nonce driver.Nonce, participant string, ttl time.Duration, metadata map[string]string, groupVer int32) ([]byte, error) {
	b := encode(lockRecord{recordFormat, nonce.String(), participant, ttl, metadata, groupVer})
	if len(b) > maxRecord {
		return nil, driver.Misconfigured(fmt.Errorf("zookeeper: a record of %d bytes", len(b)), "metadata must be smaller: servers accept a megabyte")
	}
	return b, nil
}

// decodeLock returns the record in a lock node; ok is false if it was written by
// something else, and then only the token and the time are known.
func decodeLock(group string, data []byte, stat *zk.Stat) (rec driver.Record, ok bool) {
	rec, _, ok = decodeVersion(group, data, stat)
	return rec, ok
}

// decodeVersion is decodeLock with the version of the group node since the
// acquisition, 0 if it is not known.
func decodeVersion(group string, data []byte, stat *zk.Stat) (rec driver.Record, groupVer int32, ok bool) {
	rec = driver.Record{
		Term:       driver.Term{Group: group, Token: uint64(stat.Czxid)},
		AcquiredAt: time.UnixMilli(stat.Ctime),
		Remaining:  driver.RemainingUnknown,
	}
	var l lockRecord
	if json.Unmarshal(data, &l) != nil || l.Format != recordFormat {
		return rec, 0, false
	}
	nonce, err := driver.ParseNonce(l.Nonce)
	if err != nil || nonce.IsZero() {
		return rec, 0, false
	}
	rec.Nonce, rec.Participant, rec.TTL, rec.Metadata = nonce, l.Participant, max(l.TTL, 0), l.Metadata
	return rec, l.Version, true
}

// resigned returns the nonce that resigned last, zero if the data of a group node
// does not tell.
func resigned(data []byte) driver.Nonce {
	var g groupRecord
	if json.Unmarshal(data, &g) != nil || g.Format != recordFormat {
		return driver.Nonce{}
	}
	n, _ := driver.ParseNonce(g.Resigned)
	return n
}

func encodeGroup(resigned driver.Nonce) []byte {
	return encode(groupRecord{recordFormat, resigned.String()})
}
