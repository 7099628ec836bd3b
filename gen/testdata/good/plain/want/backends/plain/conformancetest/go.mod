module github.com/multilock/multilock-go/backends/plain/conformancetest

go 1.26.0

require (
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/backends/plain v0.1.0
)

replace github.com/multilock/multilock-go/backends/plain v0.1.0 => ..

replace github.com/multilock/multilock-go/conformance v0.1.0 => ../../../conformance

replace github.com/multilock/multilock-go/core v0.1.0 => ../../../core
