module github.com/multilock/multilock-go/backends/consul

go 1.26.0

require (
	github.com/hashicorp/consul/api v1.34.4
	github.com/multilock/multilock-go/core v0.1.0
)

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core
