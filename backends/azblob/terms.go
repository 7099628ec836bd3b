package azblob

import (
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/multilock/multilock-go/core/driver"
)

// terms is what this process remembers of the nonces it has sent: enough to
// renew with one request. It decides nothing that could put exclusion at risk;
// an entry that is missing costs a request.
type terms struct {
	mu sync.Mutex
	m  map[termKey]*term
}

type termKey struct {
	group string
	nonce driver.Nonce
}

type term struct {
	// seconds is the length of the lease, which only an acquire changes.
	seconds int32
	// live is when a request was sent after which the lease is certainly live for
	// that long, if the term has a record: the first send, or one that succeeded.
	live time.Time
	// etag is that of the last write, empty before the first.
	etag azcore.ETag
	rec  record // without metadata
}

// many is when entries of nonces that came to nothing are looked for.
const many = 10_000

// attempt notes that a nonce is about to be sent with a lease of seconds, and
// returns the length to ask for: never less than before, since that would
// shorten a live lease. first says that the nonce was not sent before.
func (t *terms) attempt(k termKey, seconds int32) (length int32, first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.m[k]; x != nil {
		x.seconds = max(x.seconds, seconds)
		return x.seconds, false
	}
	if len(t.m) >= many {
		for key, x := range t.m {
			if since(x.live) > 10*maxLease {
				delete(t.m, key)
			}
		}
	}
	if t.m == nil {
		t.m = make(map[termKey]*term)
	}
	t.m[k] = &term{seconds: seconds, live: time.Now()}
	return seconds, true
}

// surelyLive reports whether a lease of which a record was found cannot have
// expired.
func (t *terms) surelyLive(k termKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.m[k]
	return x != nil && since(x.live) < time.Duration(x.seconds)*time.Second
}

// get returns a copy, and whether there is one with a record.
func (t *terms) get(k termKey) (term, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.m[k]; x != nil && x.etag != "" {
		return *x, true
	}
	return term{}, false
}

// put notes the record of a term, as it is in the store under etag.
func (t *terms) put(k termKey, seconds int32, etag azcore.ETag, r record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = make(map[termKey]*term)
	}
	x := t.m[k]
	if x == nil {
		x = &term{seconds: seconds}
		t.m[k] = x
	}
	r.Metadata = nil
	x.etag, x.rec = etag, r
}

// extended notes that the lease was extended by a request sent at sent.
func (t *terms) extended(k termKey, sent time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.m[k]; x != nil && sent.After(x.live) {
		x.live = sent
	}
}

// stale notes that the record must be read again.
func (t *terms) stale(k termKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x := t.m[k]; x != nil {
		x.etag = ""
	}
}

func (t *terms) forget(k termKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.m, k)
}

// since is the greater of what the monotonic and the wall clock say: the one
// stands still while a machine is suspended, the other may be set back.
func since(t time.Time) time.Duration {
	return max(time.Since(t), time.Now().Round(0).Sub(t.Round(0)))
}
