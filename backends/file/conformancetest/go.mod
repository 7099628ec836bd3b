module github.com/multilock/multilock-go/backends/file/conformancetest

go 1.26.0

require (
	github.com/multilock/multilock-go/backends/file v0.1.0
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
)

require golang.org/x/sys v0.49.0 // indirect

replace github.com/multilock/multilock-go/backends/file v0.1.0 => ..

replace github.com/multilock/multilock-go/conformance v0.1.0 => ../../../conformance

replace github.com/multilock/multilock-go/core v0.1.0 => ../../../core
