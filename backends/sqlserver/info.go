package sqlserver

import "github.com/multilock/multilock-go/core/driver"

// adjustInfo declares what depends on the options.
func adjustInfo(o Options, i *driver.Info) {
	i.Connections = steadyConns + max(o.MaxDoorbells, 0)
}
