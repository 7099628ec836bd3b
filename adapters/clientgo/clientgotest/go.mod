module github.com/multilock/multilock-go/adapters/clientgo/clientgotest

go 1.26.0

require (
	github.com/multilock/multilock-go/adapters/clientgo v0.1.0
	github.com/multilock/multilock-go/backends/memory v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	k8s.io/apimachinery v0.37.2
	k8s.io/client-go v0.37.2
)

replace github.com/multilock/multilock-go/adapters/clientgo v0.1.0 => ..

replace github.com/multilock/multilock-go/backends/memory v0.1.0 => ../../../backends/memory

replace github.com/multilock/multilock-go/core v0.1.0 => ../../../core
