// Package seam lets the tests of this backend, which live in a module of their
// own, put a faulty network under a driver.
package seam

import (
	"context"
	"net"

	"github.com/multilock/multilock-go/core/driver"
)

// Dialer makes a connection, as net.Dialer.DialContext does.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// SetDialer makes all later connections of d, which was made by NewDriver, by
// dial. It is set by package redis.
var SetDialer func(d driver.Driver, dial Dialer)

// SetPlain makes d use the scripts for servers before version 7 from now on.
var SetPlain func(d driver.Driver)
