module github.com/multilock/multilock-go/tools

go 1.26.0

require (
	github.com/multilock/multilock-go/testservers v0.1.0
	golang.org/x/mod v0.42.0
)

replace github.com/multilock/multilock-go/testservers v0.1.0 => ../testservers
