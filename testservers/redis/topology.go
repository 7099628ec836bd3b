//go:build unix

package redis

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
	"github.com/multilock/multilock-go/testservers/proxy"
)

// Cluster is a cluster. Its first servers are the masters, the others replicas.
type Cluster struct {
	Servers []*Server
}

// StartCluster starts a cluster of n masters, at least three, and waits until all
// of them know all slots.
func StartCluster(tb proc.TB, n int, o Options) *Cluster {
	tb.Helper()
	return startCluster(tb, n, 0, o)
}

// StartClusterWithReplicas is StartCluster with a replica for each master. A master
// that is silent for two seconds is replaced by its replica.
func StartClusterWithReplicas(tb proc.TB, n int, o Options) *Cluster {
	tb.Helper()
	c := startCluster(tb, n, 1, o)
	for _, s := range c.Servers {
		s.eventually("the replicas are in step", func() bool {
			return s.Info("replication", "role") == "master" && s.Info("replication", "connected_slaves") == "1" ||
				s.Info("replication", "master_link_status") == "up"
		})
	}
	return c
}

func startCluster(tb proc.TB, n, replicas int, o Options) *Cluster {
	tb.Helper()
	cli := proc.Look(tb, "redis-cli", install)
	c := &Cluster{}
	create := []string{"--cluster", "create"}
	n *= 1 + replicas
	for range n {
		o := o
		o.Args = append([]string{
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(proc.FreePort(tb)), "--cluster-node-timeout", "2000",
		}, o.Args...)
		s := Start(tb, o)
		c.Servers = append(c.Servers, s)
		create = append(create, s.Addr)
	}
	proc.Run(tb, cli, append(create, "--cluster-replicas", strconv.Itoa(replicas), "--cluster-yes")...)
	for _, s := range c.Servers {
		s.eventually("the cluster is complete", func() bool {
			return s.info("CLUSTER", "INFO", "cluster_state") == "ok" && s.info("CLUSTER", "INFO", "cluster_known_nodes") == strconv.Itoa(n)
		})
	}
	return c
}

// Addrs are the addresses of all servers.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, s := range c.Servers {
		all = append(all, s.Addr)
	}
	return all
}

// Owner is the master that has the slot of key.
func (c *Cluster) Owner(key string) *Server {
	s := c.Servers[0]
	slot, err := strconv.Atoi(s.Do("CLUSTER", "KEYSLOT", key))
	if err != nil {
		s.tb.Fatalf("slot of %s: %v", key, err)
	}
	for _, s := range c.Servers {
		for line := range strings.Lines(s.Do("CLUSTER", "NODES")) {
			f := strings.Fields(line)
			if len(f) < 9 || !strings.Contains(f[2], "myself") {
				continue
			}
			for _, r := range f[8:] {
				low, high, ok := strings.Cut(r, "-")
				if !ok {
					high = low
				}
				a, _ := strconv.Atoi(low)
				b, _ := strconv.Atoi(high)
				if a <= slot && slot <= b {
					return s
				}
			}
		}
	}
	s.tb.Fatalf("nobody has slot %d", slot)
	return nil
}

// MoveSlot moves the slot of key, with its keys, to another master.
func (c *Cluster) MoveSlot(key string, to *Server) {
	from := c.Owner(key)
	slot := from.Do("CLUSTER", "KEYSLOT", key)
	fromID, toID := from.Do("CLUSTER", "MYID"), to.Do("CLUSTER", "MYID")
	to.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	for {
		keys := from.Do("CLUSTER", "GETKEYSINSLOT", slot, "100")
		if keys == "" {
			break
		}
		_, port, _ := strings.Cut(to.Addr, ":")
		from.Do(append([]string{"MIGRATE", "127.0.0.1", port, "", "0", "5000", "KEYS"}, strings.Split(keys, "\n")...)...)
	}
	for _, s := range []*Server{to, from} {
		s.Do("CLUSTER", "SETSLOT", slot, "NODE", toID)
	}
	for _, s := range c.Servers {
		if s != to && s != from {
			s.Do("CLUSTER", "SETSLOT", slot, "NODE", toID)
		}
	}
}

// MasterName is what the sentinels call the master.
const MasterName = "multilock"

// Replicated is a master with a replica and three sentinels.
type Replicated struct {
	Master, Replica *Server
	Sentinels       []*Server
	// Link is the network through which the replica follows the master. If it is
	// blackholed, the master acknowledges writes that the replica will never have.
	Link *proxy.Proxy
}

// StartReplicated starts a master, its replica and three sentinels that fail over
// when the master has been silent for a second.
func StartReplicated(tb proc.TB, o Options) *Replicated {
	tb.Helper()
	r := &Replicated{Master: Start(tb, o)}
	r.Link = proxy.Start(tb, r.Master.Addr)
	host, port, _ := strings.Cut(r.Master.Addr, ":")
	o.Args = append([]string{"--replicaof", strings.ReplaceAll(r.Link.Addr(), ":", " ")}, o.Args...)
	r.Replica = Start(tb, o)
	r.Replica.eventually("the replica is in step", func() bool { return r.Replica.Info("replication", "master_link_status") == "up" })
	for range 3 {
		r.Sentinels = append(r.Sentinels, start(tb, Options{Args: []string{
			fmt.Sprintf("sentinel monitor %s %s %s 2", MasterName, host, port),
			"sentinel down-after-milliseconds " + MasterName + " 1000",
			"sentinel failover-timeout " + MasterName + " 10000",
		}}, true))
	}
	for _, s := range r.Sentinels {
		s.eventually("the sentinel knows the others and the replica", func() bool {
			m := s.Do("SENTINEL", "MASTER", MasterName)
			return strings.Contains(m, "num-other-sentinels\n2\n") && strings.Contains(m, "num-slaves\n1\n")
		})
	}
	return r
}

// SentinelAddrs are the addresses of the sentinels.
func (r *Replicated) SentinelAddrs() []string {
	var all []string
	for _, s := range r.Sentinels {
		all = append(all, s.Addr)
	}
	return all
}

// WaitPromoted returns when the sentinels name the replica as the master.
func (r *Replicated) WaitPromoted() {
	host, port, _ := strings.Cut(r.Replica.Addr, ":")
	for _, s := range r.Sentinels {
		s.eventually("the sentinel names the replica", func() bool {
			return s.Do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MasterName) == host+"\n"+port
		})
	}
	r.Replica.eventually("the replica is a master", func() bool { return r.Replica.Info("replication", "role") == "master" })
}

// info is a field of a command that answers as INFO does.
func (s *Server) info(command, sub, field string) string {
	for line := range strings.Lines(s.Do(command, sub)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return v
		}
	}
	return ""
}

func (s *Server) eventually(what string, ok func() bool) {
	s.tb.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.tb.Fatalf("redis at %s: not within a minute: %s", s.Addr, what)
		}
	}
}
