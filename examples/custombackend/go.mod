module github.com/multilock/multilock-go/examples/custombackend

go 1.26.0

require (
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/conformance/porcupinecheck v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	go.etcd.io/bbolt v1.4.3
)

require (
	github.com/anishathalye/porcupine v1.0.3 // indirect
	golang.org/x/sys v0.29.0 // indirect
)

replace github.com/multilock/multilock-go/conformance v0.1.0 => ../../conformance

replace github.com/multilock/multilock-go/conformance/porcupinecheck v0.1.0 => ../../conformance/porcupinecheck

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core
