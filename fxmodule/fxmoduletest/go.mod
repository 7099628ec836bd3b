module github.com/multilock/multilock-go/fxmodule/fxmoduletest

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/multilock/multilock-go/backends/memory v0.1.0
	github.com/multilock/multilock-go/backends/postgres v0.1.0
	github.com/multilock/multilock-go/backends/redis v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/fxmodule v0.1.0
	github.com/multilock/multilock-go/testservers v0.1.0
	github.com/redis/go-redis/v9 v9.23.0
	go.uber.org/fx v1.24.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.uber.org/dig v1.19.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.26.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/multilock/multilock-go/backends/memory v0.1.0 => ../../backends/memory

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core

replace github.com/multilock/multilock-go/fxmodule v0.1.0 => ..

replace github.com/multilock/multilock-go/backends/postgres v0.1.0 => ../../backends/postgres

replace github.com/multilock/multilock-go/backends/redis v0.1.0 => ../../backends/redis

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../../testservers
