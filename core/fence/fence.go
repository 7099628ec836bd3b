// Package fence makes fencing tokens useful to programs that talk HTTP: a client
// transport that sends the token of its term, and a middleware that refuses a
// request with a token lower than the highest one seen. Guards for data elsewhere are
// the packages backends/file/fence, backends/postgres/fence and backends/redis/fence,
// and Guard of backends/sqlserver.
package fence

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"

	multilock "github.com/multilock/multilock-go/core"
)

// The headers of a fenced request.
const (
	HeaderGroup = "Multilock-Group"
	HeaderToken = "Multilock-Token"
)

// HighWater remembers the highest token of each group. Implementations that shall
// survive a restart keep it where the protected data is, and change both in one
// transaction; [NewMemory] is for resources that live as long as the process.
type HighWater interface {
	// Admit raises the mark of group to token and returns true, or returns false if
	// the mark is higher. Equal tokens are admitted: a term writes more than once.
	Admit(group string, token uint64) (bool, error)
}

// Memory is a HighWater of this process. Its methods may be called concurrently.
type Memory struct {
	mu    sync.Mutex
	marks map[string]uint64
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{marks: make(map[string]uint64)} }

// Admit implements HighWater.
func (m *Memory) Admit(group string, token uint64) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if token < m.marks[group] {
		return false, nil
	}
	m.marks[group] = token
	return true, nil
}

// Transport sends the token of the current term with every request, and none of
// them without one: a request made while not leading fails with ErrLost before it
// is sent.
type Transport struct {
	// Elector is the election whose term protects the requests; required.
	Elector *multilock.Elector
	// Base sends the requests; nil means http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	term, ok := t.Elector.Term()
	if !ok {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("fence: %s does not lead %s: %w", t.Elector.ParticipantID(), t.Elector.Group(), multilock.ErrLost)
	}
	r = r.Clone(r.Context())
	Set(r.Header, term)
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	return base.RoundTrip(r)
}

// Set puts group and token of a term into a header.
func Set(h http.Header, term multilock.Term) {
	h.Set(HeaderGroup, term.Group)
	h.Set(HeaderToken, strconv.FormatUint(term.Token, 10))
}

// Middleware admits a request for group only if its token is not lower than the
// highest one seen: 428 (precondition required) if it has none or that of another
// group, 400 if it is not a number, 412 (precondition failed) if a later term has
// been here.
//
// The check and what next does are not one transaction. If a later term's request
// may run at the same time as next, next itself has to check where it writes.
func Middleware(group string, marks HighWater, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.Header.Get(HeaderToken)
		if text == "" || r.Header.Get(HeaderGroup) != group {
			http.Error(w, fmt.Sprintf("needs %s: %s and %s", HeaderGroup, group, HeaderToken), http.StatusPreconditionRequired)
			return
		}
		token, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			http.Error(w, HeaderToken+" must be a decimal number below 2^64", http.StatusBadRequest)
			return
		}
		switch ok, err := marks.Admit(group, token); {
		case err != nil:
			http.Error(w, "the token could not be checked", http.StatusServiceUnavailable)
		case !ok:
			http.Error(w, fmt.Sprintf("token %d of %s is out of date", token, group), http.StatusPreconditionFailed)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
