module github.com/multilock/multilock-go/core/fence/fencetest

go 1.26.0

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/microsoft/go-mssqldb v1.11.2
	github.com/multilock/multilock-go/backends/file v0.1.0
	github.com/multilock/multilock-go/backends/postgres v0.1.0
	github.com/multilock/multilock-go/backends/redis v0.1.0
	github.com/multilock/multilock-go/backends/sqlserver v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/testservers v0.1.0
	github.com/redis/go-redis/v9 v9.23.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/golang-sql/civil v0.0.0-20220223132316-b832511892a9 // indirect
	github.com/golang-sql/sqlexp v0.1.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/shopspring/decimal v1.4.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/crypto v0.55.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/multilock/multilock-go/backends/file v0.1.0 => ../../../backends/file

replace github.com/multilock/multilock-go/backends/postgres v0.1.0 => ../../../backends/postgres

replace github.com/multilock/multilock-go/backends/redis v0.1.0 => ../../../backends/redis

replace github.com/multilock/multilock-go/backends/sqlserver v0.1.0 => ../../../backends/sqlserver

replace github.com/multilock/multilock-go/core v0.1.0 => ../..

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../../../testservers
