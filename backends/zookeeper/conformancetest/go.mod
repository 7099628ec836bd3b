module github.com/multilock/multilock-go/backends/zookeeper/conformancetest

go 1.26.0

require (
	github.com/go-zookeeper/zk v1.0.4
	github.com/multilock/multilock-go/backends/zookeeper v0.1.0
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/conformance/porcupinecheck v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/testservers v0.1.0
)

require github.com/anishathalye/porcupine v1.0.3 // indirect

replace github.com/multilock/multilock-go/backends/zookeeper v0.1.0 => ..

replace github.com/multilock/multilock-go/conformance v0.1.0 => ../../../conformance

replace github.com/multilock/multilock-go/core v0.1.0 => ../../../core

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../../../testservers

replace github.com/multilock/multilock-go/conformance/porcupinecheck v0.1.0 => ../../../conformance/porcupinecheck
