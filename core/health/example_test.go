package health_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/health"
)

var mail, reports *multilock.Elector // made by multilock.New

// One pair of handlers for all electors of the process.
func Example() {
	mux := http.NewServeMux()
	mux.Handle("/ready", health.Ready(mail, reports))   // 200, or 503 with the reasons
	mux.Handle("/leader", health.Leader(mail, reports)) // who leads; keep it from the public
	log.Fatal(http.ListenAndServe("localhost:8080", mux))
}

// Without electors there is nothing that could be unhealthy.
func ExampleReady() {
	w := httptest.NewRecorder()
	health.Ready().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/ready", nil))
	fmt.Println(w.Code)
	// Output: 200
}
