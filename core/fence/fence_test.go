package fence_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/fence"
)

func TestMiddleware(t *testing.T) {
	served := 0
	marks := fence.NewMemory()
	h := fence.Middleware("g", marks, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	for _, c := range []struct {
		group, token string
		status       int
	}{
		{"g", "", http.StatusPreconditionRequired}, {"other", "5", http.StatusPreconditionRequired},
		{"g", "x", http.StatusBadRequest}, {"g", "-1", http.StatusBadRequest}, {"g", "18446744073709551616", http.StatusBadRequest},
		{"g", "5", http.StatusOK}, {"g", "5", http.StatusOK}, {"g", "7", http.StatusOK},
		{"g", "6", http.StatusPreconditionFailed}, // an old leader that woke up
		{"g", "7", http.StatusOK},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set(fence.HeaderGroup, c.group)
		r.Header.Set(fence.HeaderToken, c.token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("group %q token %q: status %d, want %d", c.group, c.token, w.Code, c.status)
		}
	}
	if served != 4 {
		t.Errorf("served %d", served)
	}
	broken := fence.Middleware("g", failing{}, http.NotFoundHandler())
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	fence.Set(r.Header, multilock.Term{Group: "g", Token: 1})
	w := httptest.NewRecorder()
	broken.ServeHTTP(w, r)
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d", w.Code)
	}
}

type failing struct{}

func (failing) Admit(string, uint64) (bool, error) { return false, errors.New("disk full") }
