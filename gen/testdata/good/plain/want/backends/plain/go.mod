module github.com/multilock/multilock-go/backends/plain

go 1.26.0

require github.com/multilock/multilock-go/core v0.1.0

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core
