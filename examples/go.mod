module github.com/multilock/multilock-go/examples

go 1.26.0

require (
	github.com/multilock/multilock-go/backends/azblob v0.1.0
	github.com/multilock/multilock-go/backends/consul v0.1.0
	github.com/multilock/multilock-go/backends/file v0.1.0
	github.com/multilock/multilock-go/backends/memory v0.1.0
	github.com/multilock/multilock-go/backends/postgres v0.1.0
	github.com/multilock/multilock-go/backends/redis v0.1.0
	github.com/multilock/multilock-go/backends/sqlserver v0.1.0
	github.com/multilock/multilock-go/backends/zookeeper v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/fxmodule v0.1.0
	go.uber.org/fx v1.24.0
)

require (
	github.com/Azure/azure-sdk-for-go/sdk/azcore v1.23.1 // indirect
	github.com/Azure/azure-sdk-for-go/sdk/internal v1.12.0 // indirect
	github.com/Azure/azure-sdk-for-go/sdk/storage/azblob v1.8.0 // indirect
	github.com/armon/go-metrics v0.4.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/fatih/color v1.19.0 // indirect
	github.com/go-viper/mapstructure/v2 v2.5.0 // indirect
	github.com/go-zookeeper/zk v1.0.4 // indirect
	github.com/golang-sql/civil v0.0.0-20220223132316-b832511892a9 // indirect
	github.com/golang-sql/sqlexp v0.1.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/hashicorp/consul/api v1.34.4 // indirect
	github.com/hashicorp/errwrap v1.1.0 // indirect
	github.com/hashicorp/go-cleanhttp v0.5.2 // indirect
	github.com/hashicorp/go-hclog v1.6.3 // indirect
	github.com/hashicorp/go-immutable-radix v1.3.1 // indirect
	github.com/hashicorp/go-metrics v0.6.0 // indirect
	github.com/hashicorp/go-multierror v1.1.1 // indirect
	github.com/hashicorp/go-rootcerts v1.0.2 // indirect
	github.com/hashicorp/golang-lru v1.0.2 // indirect
	github.com/hashicorp/serf v0.10.4 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/mattn/go-colorable v0.1.15 // indirect
	github.com/mattn/go-isatty v0.0.22 // indirect
	github.com/microsoft/go-mssqldb v1.11.2 // indirect
	github.com/mitchellh/go-homedir v1.1.0 // indirect
	github.com/multilock/multilock-go/testservers v0.1.0
	github.com/redis/go-redis/v9 v9.23.0 // indirect
	github.com/shopspring/decimal v1.4.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	go.uber.org/dig v1.19.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.26.0 // indirect
	golang.org/x/crypto v0.55.0 // indirect
	golang.org/x/exp v0.0.0-20260218203240-3dfff04db8fa // indirect
	golang.org/x/net v0.58.0 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace github.com/multilock/multilock-go/backends/azblob v0.1.0 => ../backends/azblob

replace github.com/multilock/multilock-go/backends/consul v0.1.0 => ../backends/consul

replace github.com/multilock/multilock-go/backends/file v0.1.0 => ../backends/file

replace github.com/multilock/multilock-go/backends/memory v0.1.0 => ../backends/memory

replace github.com/multilock/multilock-go/backends/postgres v0.1.0 => ../backends/postgres

replace github.com/multilock/multilock-go/backends/redis v0.1.0 => ../backends/redis

replace github.com/multilock/multilock-go/backends/sqlserver v0.1.0 => ../backends/sqlserver

replace github.com/multilock/multilock-go/backends/zookeeper v0.1.0 => ../backends/zookeeper

replace github.com/multilock/multilock-go/core v0.1.0 => ../core

replace github.com/multilock/multilock-go/fxmodule v0.1.0 => ../fxmodule

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../testservers
