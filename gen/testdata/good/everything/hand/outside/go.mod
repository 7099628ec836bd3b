module github.com/multilock/multilock-go/outside

go 1.26.0

require github.com/multilock/multilock-go/core v0.9.0

replace github.com/multilock/multilock-go/core v0.9.0 => ../elsewhere/core
