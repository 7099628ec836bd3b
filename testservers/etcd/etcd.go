//go:build unix

// Package etcd starts etcd servers for tests and benchmarks. MultiLock has no
// backend for etcd; its own election is what others are measured against.
package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/multilock/multilock-go/testservers/proc"
)

// Install says how to get the server.
const Install = "sudo apt-get install --yes etcd-server"

// Server is one etcd. Its data survive Restart.
type Server struct {
	*proc.Process
	// Addr is host:port of the client interface.
	Addr string
}

// Start starts a single server with a fresh data directory and waits until it
// is healthy, which means that it leads itself. Every write is fsynced: the
// versions that distributions have cannot do without.
func Start(tb proc.TB) *Server {
	tb.Helper()
	port, peer := proc.FreePort(tb), proc.FreePort(tb)
	s := &Server{Addr: proc.Addr(port)}
	client, peers := s.URL(), "http://"+proc.Addr(peer)
	s.Process = proc.Start(tb, proc.Command{
		Name: fmt.Sprintf("etcd-%d", port),
		Path: proc.Look(tb, "etcd", Install),
		Args: []string{
			"--name", "one", "--data-dir", tb.TempDir(),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
			"--initial-cluster", "one=" + peers,
		},
		Ready: s.healthy,
	})
	return s
}

// URL is where clients connect to, and where /metrics and /version are.
func (s *Server) URL() string { return "http://" + s.Addr }

func (s *Server) healthy(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/health", nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct{ Health string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return err
	}
	if answer.Health != "true" {
		return fmt.Errorf("its health is %q", answer.Health)
	}
	return nil
}
