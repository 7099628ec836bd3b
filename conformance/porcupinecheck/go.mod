module github.com/multilock/multilock-go/conformance/porcupinecheck

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.0.3
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
)

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core

replace github.com/multilock/multilock-go/conformance v0.1.0 => ..
