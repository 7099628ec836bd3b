//go:build unix

package store

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestFromClient(t *testing.T) {
	for line, want := range map[string]bool{
		`+1795493483.462090 [0 127.0.0.1:51234] "evalsha" "abc"`:  true,
		`+1795493483.462090 [0 lua] "hmget" "k" "[0 lua]"`:        false,
		`+1795493483.462090 [3 [::1]:51234] "get" "a] lua] [b"`:   true,
		`+1795493483.462090 [0 127.0.0.1:51234] "set" "[0 lua] "`: true,
		`+OK`: false,
		`+1795493483.462090 [0 unix:/tmp/a.sock] "subscribe" "b"`:         true,
		`+1795493483.462090 [0 127.0.0.1:1] ` + strings.Repeat("x", 5000): true,
	} {
		if got := fromClient([]byte(line)); got != want {
			t.Errorf("%.60s: %v, want %v", line, got, want)
		}
	}
}

func TestNumbersInText(t *testing.T) {
	const metrics = `# HELP grpc x
grpc_server_msg_received_total{a="b",c="d"} 3
grpc_server_msg_received_total{a="e"} 4
grpc_server_msg_received_total_other{a="e"} 100
`
	if n, err := sumOf(metrics, "grpc_server_msg_received_total"); err != nil || n != 7 {
		t.Errorf("%v, %v", n, err)
	}
	if _, err := sumOf(metrics, "absent"); err == nil {
		t.Error("a metric that is absent is 0")
	}
	const mntr = "zk_version\t3.8\nzk_packets_received\t42\nzk_packets_received_more\t1\n"
	if n, err := field(mntr, "zk_packets_received"); err != nil || n != 42 {
		t.Errorf("%v, %v", n, err)
	}
	if _, err := field(mntr, "zk_absent"); err == nil {
		t.Error("a field that is absent is 0")
	}
}

func TestTimeOfCommands(t *testing.T) {
	const info = "# Commandstats\r\n" +
		"cmdstat_set:calls=2,usec=28,usec_per_call=14.00,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_evalsha:calls=3,usec=1821,usec_per_call=607.00,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_client|set:calls=1,usec=5000,usec_per_call=5000.00,rejected_calls=0,failed_calls=0\r\n"
	for want, commands := range map[time.Duration][]string{
		1821 * time.Microsecond: {"eval", "evalsha"}, 1849 * time.Microsecond: {"evalsha", "set"}, 0: {"get"},
	} {
		if got, err := usecOf(info, commands); got != want || err != nil {
			t.Errorf("%v: %v, want %v; %v", commands, got, want, err)
		}
	}
	if _, err := usecOf("cmdstat_get:calls=1\r\n", []string{"get"}); err == nil {
		t.Error("a line without a time counts as none")
	}
}

func TestUnknownStore(t *testing.T) {
	if _, err := Start("mysql"); err == nil || !strings.Contains(err.Error(), "redis") {
		t.Errorf("%v", err)
	}
}

func TestParseStat(t *testing.T) {
	pid, parent, ticks, ok := parseStat("42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7")
	if !ok || pid != 42 || parent != 7 || ticks != 127 {
		t.Errorf("%d, %d, %d, %v", pid, parent, ticks, ok)
	}
	for _, bad := range []string{"", "42", "42 (a) S 7", "x (a) S 7 42 42 0 -1 4194304 1 2 3 4 100 20 3 4 20 0"} {
		if _, _, _, ok := parseStat(bad); ok {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestCPUOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only Linux tells")
	}
	s := &Server{pid: os.Getpid}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if d, ok := s.CPU(); !ok {
			t.Fatal("nothing is told")
		} else if d > 0 {
			return
		}
	}
	t.Error("this process has computed nothing in a minute of computing")
}
