module github.com/multilock/multilock-go/backends/file

go 1.26.0

require github.com/multilock/multilock-go/core v0.1.0

require golang.org/x/sys v0.49.0

replace github.com/multilock/multilock-go/core v0.1.0 => ../../core
