// Package postgres starts a real PostgreSQL for tests, with or without PgBouncer
// before it, on free loopback ports and a temporary data directory. It can be
// restarted, have its backends killed, and have its clock stepped.
//
// PostgreSQL refuses to run as root; a test that is root runs it as the user
// postgres, or as nobody.
package postgres
