module github.com/multilock/multilock-go/backends/postgres/conformancetest

go 1.26.0

require (
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/conformance v0.1.0
	github.com/multilock/multilock-go/backends/postgres v0.1.0
	github.com/multilock/multilock-go/testservers v0.1.0
	github.com/jackc/pgx/v5 v5.12.0
)

replace github.com/multilock/multilock-go/backends/postgres v0.1.0 => ..

replace github.com/multilock/multilock-go/conformance v0.1.0 => ../../../conformance

replace github.com/multilock/multilock-go/core v0.1.0 => ../../../core

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../../../testservers
