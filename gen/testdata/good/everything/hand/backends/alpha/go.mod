module github.com/multilock/multilock-go/backends/alpha

go 1.26.0

require github.com/multilock/multilock-go/core v1.2.3
