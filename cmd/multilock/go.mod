module github.com/multilock/multilock-go/cmd/multilock

go 1.26.0

require (
	github.com/multilock/multilock-go/backends/azblob v0.1.0
	github.com/multilock/multilock-go/backends/consul v0.1.0
	github.com/multilock/multilock-go/backends/file v0.1.0
	github.com/multilock/multilock-go/backends/memory v0.1.0
	github.com/multilock/multilock-go/backends/postgres v0.1.0
	github.com/multilock/multilock-go/backends/redis v0.1.0
	github.com/multilock/multilock-go/backends/sqlserver v0.1.0
	github.com/multilock/multilock-go/backends/zookeeper v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	github.com/spf13/cobra v1.10.1
	golang.org/x/term v0.35.0
)
