module github.com/multilock/multilock-go/backends/alpha/conformancetest

go 1.26.0

require (
	github.com/multilock/multilock-go/core v1.2.3
	github.com/multilock/multilock-go/conformance v1.2.3
	github.com/multilock/multilock-go/backends/alpha v1.2.3
	github.com/multilock/multilock-go/tools/helper v1.2.3
)

replace github.com/multilock/multilock-go/backends/alpha v1.2.3 => ..

replace github.com/multilock/multilock-go/conformance v1.2.3 => ../../../conformance

replace github.com/multilock/multilock-go/core v1.2.3 => ../../../core

replace github.com/multilock/multilock-go/tools/helper v1.2.3 => ../../../tools/helper
