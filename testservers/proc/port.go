package proc

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports outside the range from which systems take the ports of outgoing
// connections: such a connection cannot take the port of a server that is down
// for a moment.
const (
	lowPort  = 15000
	highPort = 32000
)

var (
	portMu sync.Mutex
	given  = make(map[int]bool)
)

// FreePort returns a loopback TCP port that nobody uses now and that this
// process has not been given before.
func FreePort(tb TB) int {
	tb.Helper()
	portMu.Lock()
	defer portMu.Unlock()
	for range 1000 {
		port := lowPort + rand.IntN(highPort-lowPort)
		if given[port] {
			continue
		}
		l, err := net.Listen("tcp", Addr(port))
		if err != nil {
			continue
		}
		_ = l.Close()
		given[port] = true
		return port
	}
	tb.Fatalf("no free loopback port between %d and %d", lowPort, highPort)
	return 0
}

// Addr is the loopback address of port.
func Addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
