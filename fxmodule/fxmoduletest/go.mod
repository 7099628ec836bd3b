module github.com/multilock/multilock-go/fxmodule/fxmoduletest

go 1.26.0

require (
	github.com/multilock/multilock-go/backends/memory v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/fxmodule v0.1.0
	go.uber.org/fx v1.24.0
)

require (
	go.uber.org/dig v1.19.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.26.0 // indirect
	golang.org/x/sys v0.0.0-20220412211240-33da011f77ad // indirect
)

replace github.com/multilock/multilock-go/backends/memory v0.1.0 => ../../backends/memory

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core

replace github.com/multilock/multilock-go/fxmodule v0.1.0 => ..
