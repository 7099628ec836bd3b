// Package zookeeper runs real ZooKeeper servers for tests: one, or an ensemble
// of three. It needs Debian's zookeeper package, or another that puts the
// server's jar in the place named by MULTILOCK_ZOOKEEPER_CLASSPATH.
package zookeeper

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
)

// Install is what a failing test says when the server is missing.
const Install = "sudo apt-get install --yes zookeeper"

const defaultClasspath = "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"

// Options say how servers run. The zero value is usable.
type Options struct {
	// Tick is the tickTime; 100 ms if zero. Sessions last 2 to 60 ticks.
	Tick time.Duration
	// SyncTicks is the syncLimit of an ensemble, how long a server may be out of
	// touch with its leader before it lets its clients go; 5 ticks if zero.
	SyncTicks int
	// Peers, if not nil, is called for each pair of an ensemble with the address
	// at which server to listens for its peers (where followers reach the leader)
	// and returns the address that server from is told instead.
	Peers func(from, to int, addr string) string
}

// Server is one server. See proc.Process for Kill, Start, Stop and Cont.
type Server struct {
	*proc.Process
	// Addr is where clients connect to.
	Addr string
	// Dir holds the data, which survive a restart.
	Dir string
}

// Start runs a single server.
func Start(tb proc.TB, o Options) *Server {
	tb.Helper()
	s := &Server{Addr: proc.Addr(proc.FreePort(tb)), Dir: tb.TempDir()}
	s.write(tb, o, "")
	s.Process = proc.Start(tb, s.command(tb))
	return s
}

// StartEnsemble runs three servers and waits until each serves clients.
func StartEnsemble(tb proc.TB, o Options) []*Server {
	tb.Helper()
	const n = 3
	quorum, election := make([]string, n), make([]string, n)
	for i := range n {
		quorum[i], election[i] = proc.Addr(proc.FreePort(tb)), proc.Addr(proc.FreePort(tb))
	}
	if o.SyncTicks == 0 {
		o.SyncTicks = 5
	}
	servers := make([]*Server, n)
	done := make(chan *Server, n)
	for i := range n {
		s := &Server{Addr: proc.Addr(proc.FreePort(tb)), Dir: tb.TempDir()}
		servers[i] = s
		var b strings.Builder
		fmt.Fprintf(&b, "initLimit=%d\nsyncLimit=%d\n", max(50, o.SyncTicks), o.SyncTicks)
		for j := range n {
			addr := quorum[j]
			if o.Peers != nil && i != j {
				addr = o.Peers(i, j, addr)
			}
			_, port, _ := net.SplitHostPort(election[j])
			fmt.Fprintf(&b, "server.%d=%s:%s\n", j+1, addr, port)
		}
		s.write(tb, o, b.String())
		if err := os.WriteFile(filepath.Join(s.Dir, "myid"), fmt.Appendf(nil, "%d\n", i+1), 0o600); err != nil {
			tb.Fatalf("zookeeper: %v", err)
		}
		c := s.command(tb)
		c.Ready = nil // none is before two are
		s.Process = proc.Start(tb, c)
	}
	for _, s := range servers {
		go func() { s.waitServing(); done <- s }()
	}
	for range servers {
		<-done
	}
	for _, s := range servers {
		if s.Mode() == "" {
			tb.Fatalf("zookeeper: the ensemble does not serve\n%s", s.LogTail())
		}
	}
	return servers
}

func (s *Server) write(tb proc.TB, o Options, more string) {
	tb.Helper()
	if o.Tick == 0 {
		o.Tick = 100 * time.Millisecond
	}
	host, port, _ := net.SplitHostPort(s.Addr)
	tick := o.Tick.Milliseconds()
	config := fmt.Sprintf(`tickTime=%d
dataDir=%s
clientPortAddress=%s
clientPort=%s
minSessionTimeout=%d
maxSessionTimeout=%d
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
%s`, tick, s.Dir, host, port, 2*tick, 60*tick, more)
	if err := os.WriteFile(filepath.Join(s.Dir, "zoo.cfg"), []byte(config), 0o600); err != nil {
		tb.Fatalf("zookeeper: %v", err)
	}
}

func (s *Server) command(tb proc.TB) proc.Command {
	tb.Helper()
	path := os.Getenv("MULTILOCK_ZOOKEEPER_CLASSPATH")
	if path == "" {
		path = defaultClasspath
		proc.Look(tb, "zookeeper.jar", Install, "/usr/share/java/zookeeper.jar")
	}
	return proc.Command{
		Name: "zookeeper",
		Path: proc.Look(tb, "java", Install),
		Args: []string{
			"-cp", path, "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
			// A test machine's disk is no part of what is tested.
			"-Dzookeeper.forceSync=no", "-Dzookeeper.preAllocSize=1024",
			"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
			"org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(s.Dir, "zoo.cfg"),
		},
		Dir:   s.Dir,
		Ready: s.serving,
	}
}

func (s *Server) serving(ctx context.Context) error {
	text, err := s.Ask(ctx, "srvr")
	if err == nil && !strings.Contains(text, "Mode:") {
		err = fmt.Errorf("it says %q", text)
	}
	return err
}

// waitServing waits until the server serves clients, at most a minute.
func (s *Server) waitServing() {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := s.serving(ctx)
		cancel()
		if err == nil {
			return
		}
	}
}

// Mode is "standalone", "leader" or "follower", and empty if the server serves
// nobody now.
func (s *Server) Mode() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	text, err := s.Ask(ctx, "srvr")
	if err != nil {
		return ""
	}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if mode, ok := strings.CutPrefix(lines.Text(), "Mode: "); ok {
			return mode
		}
	}
	return ""
}

// Ask sends one of the server's four-letter words and returns the answer.
func (s *Server) Ask(ctx context.Context, word string) (string, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", s.Addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	if _, err := c.Write([]byte(word)); err != nil {
		return "", err
	}
	var b strings.Builder
	if _, err := bufio.NewReader(c).WriteTo(&b); err != nil {
		return "", err
	}
	return b.String(), nil
}

// Addrs lists the client addresses of servers.
func Addrs(servers []*Server) []string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr
	}
	return list
}
