module github.com/multilock/multilock-go/cmd/any

go 1.26.0
