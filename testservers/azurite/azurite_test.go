//go:build unix

package azurite

import (
	"context"
	"net/http"
	"testing"

	"github.com/multilock/multilock-go/testservers/proc"
)

func TestServerAnswersAndRestarts(t *testing.T) {
	s := Start(t)
	ask := func() {
		t.Helper()
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, Endpoint(s.Addr)+"?comp=list", nil)
		if err != nil {
			t.Fatal(err)
		}
		p, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Body.Close()
		// It wants a signature, so it is a blob service.
		if p.StatusCode != http.StatusForbidden || p.Header.Get("x-ms-error-code") == "" {
			t.Fatalf("an unsigned request: %s, %v", p.Status, p.Header)
		}
	}
	ask()
	s.Terminate()
	if err := proc.Dials(s.Addr)(context.Background()); err == nil {
		t.Fatal("it still answers after Terminate")
	}
	s.Start()
	ask()
}
