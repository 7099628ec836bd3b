module github.com/multilock/multilock-go/tools

go 1.26.0
