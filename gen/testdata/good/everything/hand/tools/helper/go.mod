module github.com/multilock/multilock-go/tools/helper

go 1.25.0

toolchain go1.26.8
