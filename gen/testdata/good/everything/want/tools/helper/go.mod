module github.com/multilock/multilock-go/tools/helper

go 1.26.0
