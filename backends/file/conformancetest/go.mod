module github.com/multilock/multilock-go/backends/file/conformancetest

go 1.26.0

require (
	github.com/multilock/multilock-go/backends/file v0.1.0
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
)

require github.com/anishathalye/porcupine v1.0.3 // indirect

require (
	github.com/multilock/multilock-go/conformance/porcupinecheck v0.1.0
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/multilock/multilock-go/backends/file v0.1.0 => ..

replace github.com/multilock/multilock-go/conformance v0.1.0 => ../../../conformance

replace github.com/multilock/multilock-go/core v0.1.0 => ../../../core

replace github.com/multilock/multilock-go/conformance/porcupinecheck v0.1.0 => ../../../conformance/porcupinecheck
