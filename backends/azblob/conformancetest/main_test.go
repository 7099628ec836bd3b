package conformancetest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multilock/multilock-go/backends/azblob"
	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/core/driver"
	"github.com/multilock/multilock-go/testservers/azurite"
	"github.com/multilock/multilock-go/testservers/proc"
)

// testEnv points the tests at another account, by its connection string. Each
// rule makes a container of its own in it.
const testEnv = "MULTILOCK_TEST_AZBLOB_URL"

var scope = &proc.Scope{}

// TestMain lets the kit run candidates in processes of their own, and many rules
// at one time: with leases of 15 s nearly all they do is wait.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "24") // a number is valid
	}
	conformance.Main(m, azblob.OpenURL, scope.Close)
}

// account is a connection string, and the server if it is ours.
type account struct {
	connection string
	server     *azurite.Server
}

var shared = sync.OnceValue(func() account {
	a := account{connection: os.Getenv(testEnv)}
	if a.connection == "" {
		a.server = azurite.Start(scope)
		a.connection = azurite.ConnectionString(a.server.Addr)
	}
	// A URL holds no secret: child processes have it from here.
	if err := os.Setenv("MULTILOCK_AZBLOB_CONNECTION_STRING", a.connection); err != nil {
		panic(err)
	}
	return a
})

var containers atomic.Int64

func newContainer() string {
	return fmt.Sprintf("multilock-test-%d-%d", time.Now().UnixMilli(), containers.Add(1))
}

// ttl is the shortest that Azure allows, for tests that wait for the end of a
// lease; others take the longest, so that no slow machine ends it for them.
const (
	ttl  = 15 * time.Second
	long = time.Minute
)

func open(t *testing.T, o azblob.Options) driver.Driver {
	t.Helper()
	d, _, err := azblob.NewDriver(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func patience(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func request(group string) driver.AcquireRequest {
	return driver.AcquireRequest{Group: group, Participant: "p", Nonce: driver.NewNonce(), TTL: long}
}

func brief(group string) driver.AcquireRequest {
	req := request(group)
	req.TTL = ttl
	return req
}

func acquire(t *testing.T, d driver.Driver, req driver.AcquireRequest) driver.Term {
	t.Helper()
	g, err := d.Acquire(patience(t), req)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return driver.Term{Group: req.Group, Participant: req.Participant, Token: g.Token, Nonce: req.Nonce}
}

func renew(t *testing.T, d driver.Driver, tm driver.Term, metadata map[string]string) error {
	t.Helper()
	err := errors.New("not reported")
	d.Renew(patience(t), []driver.RenewRequest{{Term: tm, TTL: long, Metadata: metadata}}, func(r driver.RenewResult) { err = r.Err })
	return err
}

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: err = %v, want %v", what, err, target)
	}
}
