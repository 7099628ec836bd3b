module github.com/multilock/multilock-go/testservers

go 1.26.0
