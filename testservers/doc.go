// Package testservers holds no code of its own. Its packages start the real
// stores that the tests of the backends run against, each on a free loopback
// port with a temporary data directory, so that a test may stop, restart and
// cut them; [github.com/multilock/multilock-go/testservers/proc] runs the
// processes and [github.com/multilock/multilock-go/testservers/proxy] is the
// faulty network before them. Only
// [github.com/multilock/multilock-go/testservers/tds] is no real store but a
// stand-in for SQL Server, which cannot be installed everywhere.
//
// The module is for tests only and is never released.
package testservers
