//go:build unix

// Package consul starts real Consul servers for tests: one, or a cluster of
// three, on free loopback ports. The server is built from its Go module, which
// takes minutes the first time; see Binary.
package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
)

// Version of the server. build/go.mod pins the same.
const Version = "1.22.0"

// BinaryEnv names the variable that says where the server's binary is.
const BinaryEnv = "MULTILOCK_CONSUL_BIN"

// Install says how to get the binary.
const Install = "build it once with testservers/consul/build.sh, or set " + BinaryEnv

// Binary finds the server: where BinaryEnv says, in the user's cache directory,
// where build.sh puts it, or in PATH.
func Binary(tb proc.TB) string {
	tb.Helper()
	if path := os.Getenv(BinaryEnv); path != "" {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			tb.Fatalf("%s=%s is not a program: %v", BinaryEnv, path, err)
		}
		return path
	}
	if dir, err := os.UserCacheDir(); err == nil {
		path := filepath.Join(dir, "multilock-test", "consul-"+Version, "consul")
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return proc.Look(tb, "consul", Install)
}

// Options of a server. The zero value is a server as Consul ships it.
type Options struct {
	// SessionTTLMin lowers the shortest time-to-live of sessions from 10 s.
	SessionTTLMin time.Duration
	// MaxConnsPerClient lowers the number of HTTP connections that one address
	// may have from 200.
	MaxConnsPerClient int
	// ACLToken switches ACLs on, with this token for everything and a default of
	// deny.
	ACLToken string
}

// Server is one Consul server.
type Server struct {
	*proc.Process
	// Addr is host:port of its HTTP interface.
	Addr string
	// Node is its name in the catalogue.
	Node string

	token string
}

// URL is the server as MultiLock's consul backend takes it.
func (s *Server) URL() string { return "consul://" + s.Addr }

// Start starts a single server and waits until it leads itself.
func Start(tb proc.TB, o Options) *Server {
	tb.Helper()
	s := prepare(tb, o, []nodePorts{newPorts(tb)}, 0)
	s.Process.WaitReady()
	return s
}

// StartCluster starts n servers that elect a leader among them.
func StartCluster(tb proc.TB, n int, o Options) []*Server {
	tb.Helper()
	ports := make([]nodePorts, n)
	for i := range ports {
		ports[i] = newPorts(tb)
	}
	servers := make([]*Server, n)
	for i := range servers {
		servers[i] = prepare(tb, o, ports, i)
	}
	for _, s := range servers {
		s.WaitReady()
	}
	return servers
}

// Leader returns the server that leads the cluster, which it waits for.
func Leader(tb proc.TB, servers []*Server) *Server {
	tb.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		for _, s := range servers {
			if !s.Alive() {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			var stats struct {
				Stats struct{ Consul map[string]string }
			}
			err := s.get(ctx, "/v1/agent/self", &stats)
			cancel()
			if err == nil && stats.Stats.Consul["leader"] == "true" {
				return s
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	tb.Fatalf("the Consul cluster has no leader after a minute")
	return nil
}

type nodePorts struct{ http, server, serf int }

func newPorts(tb proc.TB) nodePorts {
	return nodePorts{http: proc.FreePort(tb), server: proc.FreePort(tb), serf: proc.FreePort(tb)}
}

// prepare starts server i of those at ports, and does not wait for it.
func prepare(tb proc.TB, o Options, ports []nodePorts, i int) *Server {
	tb.Helper()
	own := ports[i]
	s := &Server{Addr: proc.Addr(own.http), Node: fmt.Sprintf("node%d", i), token: o.ACLToken}
	config := map[string]any{
		"server": true, "node_name": s.Node, "datacenter": "dc1",
		"data_dir": filepath.Join(tb.TempDir(), "data"), "log_level": "WARN",
		"bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
		"bootstrap_expect": len(ports), "disable_update_check": true,
		"leave_on_terminate": false, "disable_host_node_id": true,
		// A single server need not wait for anybody, and three on one machine need not
		// wait long.
		"performance": map[string]any{"raft_multiplier": 1},
		"ports": map[string]any{
			"http": own.http, "server": own.server, "serf_lan": own.serf,
			"serf_wan": -1, "dns": -1, "grpc": -1, "grpc_tls": -1, "https": -1,
		},
		"telemetry": map[string]any{"disable_hostname": true},
	}
	var join []string
	for _, p := range ports {
		if p != own {
			join = append(join, proc.Addr(p.serf))
		}
	}
	if len(join) > 0 {
		config["retry_join"], config["retry_interval"] = join, "1s"
	}
	if o.SessionTTLMin > 0 {
		config["session_ttl_min"] = o.SessionTTLMin.String()
	}
	if o.MaxConnsPerClient > 0 {
		config["limits"] = map[string]any{"http_max_conns_per_client": o.MaxConnsPerClient}
	}
	if o.ACLToken != "" {
		config["primary_datacenter"] = "dc1"
		config["acl"] = map[string]any{
			"enabled": true, "default_policy": "deny", "enable_token_persistence": false,
			"tokens": map[string]any{"initial_management": o.ACLToken, "agent": o.ACLToken},
		}
	}
	text, err := json.Marshal(config)
	if err != nil {
		tb.Fatalf("configuration of Consul: %v", err)
	}
	file := filepath.Join(tb.TempDir(), "consul.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		tb.Fatalf("configuration of Consul: %v", err)
	}
	c := proc.Command{
		Name: "consul-" + s.Node, Path: Binary(tb), Args: []string{"agent", "-config-file=" + file},
		Patience: 2 * time.Minute,
	}
	// Servers of a cluster are ready only together, so they are started first and
	// waited for afterwards.
	started := false
	c.Ready = func(ctx context.Context) error {
		if !started {
			started = true
			return nil
		}
		return s.ready(ctx)
	}
	s.Process = proc.Start(tb, c)
	return s
}

// ready asks for what sessions need: a leader, and the node in the catalogue.
func (s *Server) ready(ctx context.Context) error {
	var leader string
	if err := s.get(ctx, "/v1/status/leader", &leader); err != nil {
		return err
	}
	if leader == "" {
		return fmt.Errorf("no leader yet")
	}
	var node *struct{}
	if err := s.get(ctx, "/v1/catalog/node/"+s.Node+"?consistent", &node); err != nil {
		return err
	}
	if node == nil {
		return fmt.Errorf("%s is not in the catalogue yet", s.Node)
	}
	return nil
}

func (s *Server) get(ctx context.Context, path string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+path, nil)
	if err != nil {
		return err
	}
	if s.token != "" {
		req.Header.Set("X-Consul-Token", s.token)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", strings.SplitN(path, "?", 2)[0], resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}
