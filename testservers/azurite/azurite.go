//go:build unix

// Package azurite starts Azurite, Microsoft's emulator of Azure Blob Storage, for
// tests. It is installed by install.sh beside this file.
package azurite

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/multilock/multilock-go/testservers/proc"
)

// The account that every Azurite has; its key is public.
const (
	AccountName = "devstoreaccount1"
	AccountKey  = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Server is one Azurite, its blob service only. Terminate and Start restart it
// with its data; Kill may lose the newest writes.
type Server struct {
	*proc.Process
	// Addr is host:port.
	Addr string
}

//go:embed package.json
var manifest []byte

// Start starts a server with a fresh data directory and waits until it answers.
func Start(tb proc.TB) *Server {
	tb.Helper()
	return start(tb)
}

// StartTLS is Start with TLS, by the certificate and key in two PEM files. Such a
// server also takes tokens of Entra ID, of which it checks everything but the
// signature.
func StartTLS(tb proc.TB, certificate, key string) *Server {
	tb.Helper()
	return start(tb, "--cert", certificate, "--key", key, "--oauth", "basic")
}

func start(tb proc.TB, more ...string) *Server {
	tb.Helper()
	node := proc.Look(tb, "node", "install Node.js, with npm, and run testservers/azurite/install.sh")
	port := proc.FreePort(tb)
	addr := proc.Addr(port)
	return &Server{Addr: addr, Process: proc.Start(tb, proc.Command{
		Name: "azurite-" + strconv.Itoa(port),
		Path: node,
		Args: append([]string{
			program(tb), "--blobHost", "127.0.0.1", "--blobPort", strconv.Itoa(port), "--location", tb.TempDir(),
			"--silent", "--disableTelemetry", "--skipApiVersionCheck",
		}, more...),
		Ready: proc.Dials(addr),
	})}
}

// program is the main file of the installed version.
func program(tb proc.TB) string {
	tb.Helper()
	var m struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	if err := json.Unmarshal(manifest, &m); err != nil {
		tb.Fatalf("package.json: %v", err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatalf("no cache directory: %v", err)
	}
	path := filepath.Join(cache, "multilock-test", "azurite-"+m.Dependencies["azurite"], "node_modules/azurite/dist/src/blob/main.js")
	if _, err := os.Stat(path); err != nil {
		tb.Fatalf("the test needs Azurite, which is not installed: run testservers/azurite/install.sh (%v)", err)
	}
	return path
}

// Endpoint is the blob endpoint of the account behind addr, which is the server's
// or that of a proxy before it.
func Endpoint(addr string) string { return fmt.Sprintf("http://%s/%s", addr, AccountName) }

// ConnectionString names the account behind addr and its key.
func ConnectionString(addr string) string {
	return fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;", AccountName, AccountKey, Endpoint(addr))
}
