package azblob

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// record is what the blob's metadata holds about a group, as JSON in base64,
// because Azure allows little in metadata. The metadata of a term that does not
// fit there is the content of the blob, which is then written together with it.
type record struct {
	Version int `json:"v"`
	// Token is the greatest token given so far.
	Token uint64 `json:"token"`
	// Nonce is the term's; empty if the last one was resigned.
	Nonce       string `json:"nonce,omitempty"`
	Participant string `json:"participant,omitempty"`
	AcquiredAt  int64  `json:"acquired_us,omitempty"`
	TTL         int64  `json:"ttl_ms,omitempty"`
	// Resigned is the nonce that resigned last.
	Resigned string            `json:"resigned,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	// Content says that the content of the blob is the metadata.
	Content bool `json:"content,omitempty"`
}

const (
	// recordKey is the name of the metadata entry.
	recordKey     = "multilock"
	recordVersion = 1
	// maxHeader keeps the entry below the 8 KiB that Azure gives to all metadata
	// of a blob.
	maxHeader = 7000
)

var errVersion = errors.New("azblob: the group's record was written by a newer version of this backend")

// encode returns the metadata and the content of the blob, nil if it is empty.
func (r record) encode() (header string, content []byte, err error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", nil, err
	}
	if base64.RawURLEncoding.EncodedLen(len(text)) > maxHeader {
		if content, err = json.Marshal(r.Metadata); err != nil {
			return "", nil, err
		}
		r.Metadata, r.Content = nil, true
		if text, err = json.Marshal(r); err != nil {
			return "", nil, err
		}
	}
	return base64.RawURLEncoding.EncodeToString(text), content, nil
}

// decode reads the metadata of a blob. What no driver wrote is the empty record:
// nobody's term.
func decode(metadata map[string]*string) (record, error) {
	var r record
	for k, v := range metadata {
		if !strings.EqualFold(k, recordKey) || v == nil { // HTTP libraries change the case
			continue
		}
		text, err := base64.RawURLEncoding.DecodeString(*v)
		if err != nil || json.Unmarshal(text, &r) != nil || r.Version < 1 {
			return record{}, nil
		}
		if r.Version > recordVersion {
			return record{}, driver.Misconfigured(errVersion, "use the same version for all participants of a group")
		}
	}
	return r, nil
}

func (r record) leader(group string) (driver.Record, bool) {
	n, err := driver.ParseNonce(r.Nonce)
	if err != nil {
		return driver.Record{}, false
	}
	return driver.Record{
		Term:       driver.Term{Group: group, Participant: r.Participant, Token: r.Token, Nonce: n},
		Metadata:   r.Metadata,
		AcquiredAt: time.UnixMicro(r.AcquiredAt),
		TTL:        time.Duration(r.TTL) * time.Millisecond,
		Remaining:  driver.RemainingUnknown,
	}, true
}

var errToken = errors.New("azblob: the group's token cannot grow any more")

// next is the token of the term after r, and when that term begins. The store
// tells its time in whole seconds; within that second the own clock is asked.
func (r record) next(store, own time.Time) (uint64, time.Time, error) {
	if r.Token == math.MaxUint64 {
		return 0, time.Time{}, driver.Misconfigured(errToken, "somebody has overwritten the record: delete the blob")
	}
	second := store.Truncate(time.Second)
	at := time.UnixMicro(min(max(own.UnixMicro(), second.UnixMicro()), second.Add(time.Second).UnixMicro()-1))
	return max(r.Token+1, uint64(at.UnixMicro())), at, nil
}
