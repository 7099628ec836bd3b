module github.com/multilock/multilock-go/core

go 1.26.0
