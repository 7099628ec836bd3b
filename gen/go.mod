module github.com/multilock/multilock-go/gen

go 1.26.0

require (
	github.com/dave/jennifer v1.7.1
	go.yaml.in/yaml/v3 v3.0.6
)

require golang.org/x/mod v0.42.0
