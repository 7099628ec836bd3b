module github.com/multilock/multilock-go/otelmultilock/oteltest

go 1.26.0

require (
	github.com/multilock/multilock-go/backends/memory v0.1.0
	github.com/multilock/multilock-go/core v0.1.0
	github.com/multilock/multilock-go/otelmultilock v0.1.0
	github.com/multilock/multilock-go/testservers v0.1.0
	github.com/prometheus/client_golang v1.23.0
	github.com/prometheus/otlptranslator v0.0.2
	go.opentelemetry.io/otel v1.38.0
	go.opentelemetry.io/otel/exporters/prometheus v0.60.0
	go.opentelemetry.io/otel/sdk v1.38.0
	go.opentelemetry.io/otel/sdk/metric v1.38.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/go-logr/logr v1.4.3 // indirect
	github.com/go-logr/stdr v1.2.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/grafana/regexp v0.0.0-20240518133315-a468a5bfb3bc // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.65.0 // indirect
	github.com/prometheus/procfs v0.17.0 // indirect
	go.opentelemetry.io/auto/sdk v1.1.0 // indirect
	go.opentelemetry.io/otel/metric v1.38.0 // indirect
	go.opentelemetry.io/otel/trace v1.38.0 // indirect
	golang.org/x/sys v0.35.0 // indirect
	google.golang.org/protobuf v1.36.8 // indirect
)

replace github.com/multilock/multilock-go/backends/memory v0.1.0 => ../../backends/memory

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core

replace github.com/multilock/multilock-go/otelmultilock v0.1.0 => ..

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../../testservers
