package multilock_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/changes"
	"github.com/multilock/multilock-go/core/fence"
	"github.com/multilock/multilock-go/core/health"
)

func get(h http.Handler, url string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
	return w
}

func start(t *testing.T, b *multilock.Backend, o multilock.Options) *multilock.Elector {
	t.Helper()
	e, err := multilock.New(b, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestReadinessAndWhoLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, failRenewals := multilock.NewFakeBackend(t)
		leader := start(t, b, multilock.Options{Group: "g", ParticipantID: "one", Metadata: map[string]string{"zone": "a"}})
		if _, err := leader.WaitForLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		follower := start(t, b, multilock.Options{Group: "g", ParticipantID: "two"})
		synctest.Wait()
		if w := get(health.Ready(leader, follower), "/"); w.Code != http.StatusOK {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		var got []health.Election
		w := get(health.Leader(leader, follower), "/?fresh=1")
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || len(got) != 2 {
			t.Fatalf("%v: %s", err, w.Body)
		}
		if !got[0].IsLeader || got[0].State != "leader" || got[0].Token == 0 || got[1].IsLeader || got[1].Leader != "one" ||
			got[1].LeaderToken != got[0].Token || got[1].LeaderMetadata["zone"] != "a" || got[1].Seen == nil {
			t.Errorf("got %s", w.Body)
		}

		failRenewals(errors.New("connection reset"))
		time.Sleep(9 * time.Second)
		if w := get(health.Ready(leader, follower), "/"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "connection reset") {
			t.Errorf("a leader that cannot renew is ready: %d %s", w.Code, w.Body)
		}
		if w := get(health.Ready(follower), "/"); w.Code != http.StatusOK {
			t.Errorf("a follower is not ready: %s", w.Body)
		}
		failRenewals(nil)
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

func TestTransportSendsTheTokenOrNothing(t *testing.T) {
	b, _ := multilock.NewFakeBackend(t)
	e := start(t, b, multilock.Options{Group: "g"})
	term, err := e.WaitForLeadership(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	marks := fence.NewMemory()
	served := 0
	server := httptest.NewServer(fence.Middleware("g", marks, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })))
	defer server.Close()
	client := &http.Client{Transport: &fence.Transport{Elector: e}}
	resp, err := client.Post(server.URL, "text/plain", strings.NewReader("x"))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	resp.Body.Close()
	if ok, _ := marks.Admit("g", term.Token+1); !ok { // a successor has written
		t.Fatal("a later token was refused")
	}
	resp, err = client.Post(server.URL, "text/plain", strings.NewReader("x"))
	if err != nil || resp.StatusCode != http.StatusPreconditionFailed {
		t.Fatalf("the write of an old leader: %v, %v", resp, err)
	}
	resp.Body.Close()
	if err := e.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Post(server.URL, "text/plain", strings.NewReader("x")); !errors.Is(err, multilock.ErrLost) {
		t.Errorf("a request without a term: %v", err)
	}
	if served != 1 {
		t.Errorf("served %d", served)
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Defect C17: WhileLeader of the original depended on catching the edge.
func TestDefectC17WhileLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := multilock.NewFakeBackend(t)
		e := start(t, b, multilock.Options{Group: "g"})
		if _, err := e.WaitForLeadership(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		seq := e.Changes(t.Context(), multilock.All) // begins within the term
		go func() {
			defer close(ended)
			for c := range changes.WhileLeader(e, seq) {
				t.Errorf("yielded %v", c.Kind)
			}
		}()
		time.Sleep(time.Minute)
		select {
		case <-ended:
			t.Error("ended while leading")
		default:
		}
		if err := e.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		<-ended
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
