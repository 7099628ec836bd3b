// Package health has net/http handlers that tell orchestrators and people how the
// elections of a process are doing.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	multilock "github.com/multilock/multilock-go/core"
)

// Ready answers 200 while every elector is healthy and 503 otherwise, with the
// reasons as text, one a line. A follower is healthy, also while the store is
// down: restarting it would help nobody. A leader that has missed its renewals is
// not, nor is work that runs without a term, nor an elector that a
// misconfiguration stopped; see multilock.Elector.Healthy. It does no I/O.
func Ready(electors ...*multilock.Elector) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var errs []error
		for _, e := range electors {
			errs = append(errs, e.Healthy())
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := errors.Join(errs...); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(err.Error() + "\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
}

// Election is what [Leader] answers, one for each elector.
type Election struct {
	Group       string `json:"group"`
	Participant string `json:"participant"` // of the answering process
	State       string `json:"state"`
	IsLeader    bool   `json:"is_leader"`
	// Token and LeftMS are those of the answering process's own term.
	Token  uint64 `json:"token,omitempty"`
	LeftMS int64  `json:"left_ms,omitempty"`
	// Leader is who leads, LeaderToken its token: as the store says with ?fresh=1,
	// otherwise as it was last seen, at Seen. Empty: nobody is known to lead.
	Leader         string            `json:"leader,omitempty"`
	LeaderToken    uint64            `json:"leader_token,omitempty"`
	LeaderMetadata map[string]string `json:"leader_metadata,omitempty"`
	Seen           *time.Time        `json:"seen,omitempty"`
	Error          string            `json:"error,omitempty"`
}

// freshLimit bounds the reads of one request with ?fresh=1.
const freshLimit = 5 * time.Second

// Leader answers who leads, as a JSON array of [Election]. By default it does no
// I/O; with the query fresh=1 it asks the store, once for each elector. Keep it
// from the public: it shows names and metadata, and fresh=1 makes requests.
func Leader(electors ...*multilock.Elector) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), freshLimit)
		defer cancel()
		out := make([]Election, 0, len(electors))
		for _, e := range electors {
			out = append(out, look(ctx, e, r.URL.Query().Get("fresh") == "1"))
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(out) // the client is gone if it fails
	})
}

func look(ctx context.Context, e *multilock.Elector, fresh bool) Election {
	var failed error
	if fresh {
		if _, err := e.Leader(ctx); err != nil && !errors.Is(err, multilock.ErrNoLeader) {
			failed = err
		}
	}
	s := e.Status()
	out := Election{
		Group: e.Group(), Participant: e.ParticipantID(), State: s.State.String(), IsLeader: s.IsLeader(),
		Token: s.Term.Token, LeftMS: s.Left.Milliseconds(),
		Leader: s.Leader.Participant, LeaderToken: s.Leader.Token, LeaderMetadata: s.Leader.Metadata,
	}
	if !s.LeaderSeen.IsZero() {
		out.Seen = &s.LeaderSeen
	}
	if failed == nil {
		failed = s.Err
	}
	if failed != nil {
		out.Error = failed.Error()
	}
	return out
}
