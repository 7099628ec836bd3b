// Command gen makes from backends.yaml everything about a backend that would
// otherwise be written in several places: options with their parsers, checks and
// tests, declared capabilities, test modules, the workspace, tables and lists.
//
// The schema of the spec is in README.md. Generated files are committed; gen
// -check fails if one of them is not what the spec says.
package main

//go:generate env GOWORK=off go run .
