module github.com/multilock/multilock-go/backends/zookeeper

go 1.26.0

require (
	github.com/go-zookeeper/zk v1.0.4
	github.com/multilock/multilock-go/core v0.1.0
)

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core
