//go:build unix

package store

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/multilock/multilock-go/bench/internal/leases"
	azuriteserver "github.com/multilock/multilock-go/testservers/azurite"
	consulserver "github.com/multilock/multilock-go/testservers/consul"
	etcdserver "github.com/multilock/multilock-go/testservers/etcd"
	postgresserver "github.com/multilock/multilock-go/testservers/postgres"
	"github.com/multilock/multilock-go/testservers/proc"
	redisserver "github.com/multilock/multilock-go/testservers/redis"
	"github.com/multilock/multilock-go/testservers/tds"
	zookeeperserver "github.com/multilock/multilock-go/testservers/zookeeper"
)

func memory(_ proc.TB, s *Server) {
	s.URL, s.Version = "memory://bench", "in this process"
}

func file(tb proc.TB, s *Server) {
	s.URL, s.Version = "file://"+filepath.ToSlash(tb.TempDir()), "a directory for temporary files"
}

// redisGrace is how long after its start the Redis backend grants no group that the
// server does not know: the start may have lost a leader.
const redisGrace = 16 * time.Second

func redis(tb proc.TB, s *Server) {
	server := redisserver.Start(tb, redisserver.Options{Args: []string{"--maxclients", "10000"}})
	s.URL, s.pid = server.URL(), server.PID
	s.Version = server.Info("server", "redis_version") + ", no persistence"
	m := monitor(tb, server.Addr)
	s.Unit = "commands, those inside scripts not counted"
	s.Settled = time.Now().Add(redisGrace)
	s.Requests, s.StopCounting, s.Worked = m.count, m.stop, commandTime(tb, server.Addr)
}

func postgres(tb proc.TB, s *Server) {
	server := postgresserver.Start(tb, postgresserver.Options{Settings: []string{
		"shared_preload_libraries = 'pg_stat_statements'", "max_connections = 1000",
	}})
	s.pid = server.PID
	s.URL = server.URL(postgresserver.User, postgresserver.Password, postgresserver.Database)
	count, version := statements(tb, s.URL)
	s.Version, s.Requests, s.Unit = version+", no fsync", count, "statements (pg_stat_statements)"
}

func consul(tb proc.TB, s *Server) {
	server := consulserver.Start(tb, consulserver.Options{MaxConnsPerClient: 10000})
	s.URL, s.Version, s.pid = server.URL(), consulserver.Version, server.PID
	p := countingProxy(tb, server.Addr)
	s.CountedURL, s.Requests, s.Unit = "consul://"+p.addr, p.count, "HTTP requests"
}

// zookeeperTick is what ZooKeeper ships with.
const zookeeperTick = 2 * time.Second

func zookeeper(tb proc.TB, s *Server) {
	server := zookeeperserver.Start(tb, zookeeperserver.Options{Tick: zookeeperTick})
	s.URL, s.pid = "zookeeper://"+server.Addr, server.PID
	s.Unit = "packets (zk_packets_received)"
	s.Requests = func(ctx context.Context) (float64, error) {
		text, err := server.Ask(ctx, "mntr")
		if err != nil {
			return 0, err
		}
		return field(text, "zk_packets_received")
	}
	if text, err := server.Ask(context.Background(), "srvr"); err == nil {
		line, _, _ := strings.Cut(text, "\n")
		line, _, _ = strings.Cut(strings.TrimPrefix(line, "Zookeeper version: "), "-")
		s.Version = line + ", tick 2 s, no fsync"
	}
}

func sqlserver(tb proc.TB, s *Server) {
	server, err := tds.Start(tds.Options{})
	if err != nil {
		tb.Fatalf("stand-in for SQL Server: %v", err)
	}
	tb.Cleanup(server.Stop)
	s.URL, s.Version = server.URL(), "stand-in of this repository, in the process of the benchmark"
	s.Unit = "statements and procedures"
	s.Requests = func(context.Context) (float64, error) {
		sum := 0
		for _, n := range server.Counts() {
			sum += n
		}
		return float64(sum), nil
	}
}

func azblob(tb proc.TB, s *Server) {
	server := azuriteserver.Start(tb)
	s.pid = server.PID
	s.URL, s.Version = azuriteserver.ConnectionString(server.Addr), "Azurite, an emulator"
	p := countingProxy(tb, server.Addr)
	s.CountedURL, s.Requests, s.Unit = azuriteserver.ConnectionString(p.addr), p.count, "HTTP requests"
}

func etcd(tb proc.TB, s *Server) {
	server := etcdserver.Start(tb)
	s.URL, s.Unit, s.pid = server.URL(), "gRPC messages", server.PID
	s.Requests = func(ctx context.Context) (float64, error) {
		text, err := get(ctx, server.URL()+"/metrics")
		if err != nil {
			return 0, err
		}
		return sumOf(text, "grpc_server_msg_received_total")
	}
	if text, err := get(context.Background(), server.URL()+"/version"); err == nil {
		s.Version = versionIn(text) + ", fsync"
	}
}

func kubernetes(tb proc.TB, s *Server) {
	server, err := leases.Start()
	if err != nil {
		tb.Fatalf("stand-in for the API server: %v", err)
	}
	tb.Cleanup(server.Close)
	s.URL, s.Version, s.Unit = server.URL(), "stand-in of this benchmark, in its process", "HTTP requests"
	s.Requests = func(context.Context) (float64, error) { return float64(server.Requests()), nil }
}

func versionIn(text string) string {
	_, rest, ok := strings.Cut(text, `"etcdserver":"`)
	if !ok {
		return fmt.Sprintf("%.40q", text)
	}
	v, _, _ := strings.Cut(rest, `"`)
	return v
}
