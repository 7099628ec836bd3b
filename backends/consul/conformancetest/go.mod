module github.com/multilock/multilock-go/backends/consul/conformancetest

go 1.26.0

require (
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/backends/consul v0.1.0
	github.com/multilock/multilock-go/testservers v0.1.0
)

replace github.com/multilock/multilock-go/backends/consul v0.1.0 => ..

replace github.com/multilock/multilock-go/conformance v0.1.0 => ../../../conformance

replace github.com/multilock/multilock-go/core v0.1.0 => ../../../core

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../../../testservers
