module github.com/multilock/multilock-go/backends/redis/conformancetest

go 1.26.0

require (
	github.com/multilock/multilock-go/backends/redis v0.1.0
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/conformance/porcupinecheck v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/testservers v0.1.0
	github.com/redis/go-redis/v9 v9.23.0
)

require github.com/anishathalye/porcupine v1.0.3 // indirect

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace github.com/multilock/multilock-go/backends/redis v0.1.0 => ..

replace github.com/multilock/multilock-go/core v0.1.0 => ../../../core

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../../../testservers

replace github.com/multilock/multilock-go/conformance v0.1.0 => ../../../conformance

replace github.com/multilock/multilock-go/conformance/porcupinecheck v0.1.0 => ../../../conformance/porcupinecheck
