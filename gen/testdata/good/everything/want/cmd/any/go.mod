module github.com/multilock/multilock-go/cmd/any

go 1.26.0

require (
	github.com/multilock/multilock-go/core v1.2.3
	github.com/multilock/multilock-go/backends/alpha v1.2.3
)
