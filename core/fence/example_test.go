package fence_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/fence"
)

// The server of a resource refuses the requests of leaders that are over.
func ExampleMiddleware() {
	server := fence.Middleware("billing", fence.NewMemory(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	send := func(token uint64) int {
		r := httptest.NewRequest(http.MethodPost, "/invoices", nil)
		fence.Set(r.Header, multilock.Term{Group: "billing", Token: token}) // what Transport does
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println(send(7), send(8), send(7)) // the leader with token 7 has been replaced
	// Output: 204 204 412
}

// The leader's side: the client sends the token with every request, and nothing
// after the term.
func ExampleTransport() {
	var elector *multilock.Elector // made by multilock.New
	client := &http.Client{Transport: &fence.Transport{Elector: elector}}

	err := elector.Run(context.Background(), func(ctx context.Context, term multilock.Term) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://ledger.internal/invoices", nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
	log.Print(err)
}

// Another memory for the highest token, say a database, is one method.
func ExampleMemory() {
	marks := fence.NewMemory()
	fmt.Println(marks.Admit("billing", 7))
	fmt.Println(marks.Admit("billing", 6))
	// Output:
	// true <nil>
	// false <nil>
}
