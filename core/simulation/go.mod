module github.com/multilock/multilock-go/core/simulation

go 1.26.0

require (
	github.com/multilock/multilock-go/backends/memory v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
)

replace (
	github.com/multilock/multilock-go/backends/memory v0.1.0 => ../../backends/memory
	github.com/multilock/multilock-go/core v0.1.0 => ..
)
