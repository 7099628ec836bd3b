// Package seam lets the tests of this backend, which live in a module of their
// own, execute its statements in transactions of theirs.
package seam

// Statements are the texts of a driver's statements over a table.
type Statements struct{ Acquire, Clamp, Renew string }

// StatementsOf returns the statements over a table, whose name is quoted. It is
// set by package postgres.
var StatementsOf func(table string) Statements
