// Package sqlserver elects leaders with SQL Server, Azure SQL or a T-SQL
// compatible server, through github.com/microsoft/go-mssqldb.
//
//	backend, err := sqlserver.Open(ctx, sqlserver.Options{
//		ConnString: "sqlserver://app:secret@db.example.com?database=app",
//	})
//
// # How it works
//
// Every group has one row in one table. The row is added by the first attempt
// and never deleted: it carries the token counter. Acquiring, renewing and
// resigning are each one batch, so one round trip, and the condition is part of
// the UPDATE itself; no lock hint and no isolation level is relied on. Expiry is
// judged by the server's clock (SYSUTCDATETIME, read once per batch before any
// lock is waited for). All terms of a process are renewed by one statement; if
// somebody holds one of the rows, the batch goes row by row and only the locked
// one stays undecided. A lock is waited for at most 200 ms.
//
// # Wake-up
//
// For up to MaxDoorbells groups a leader holds an application lock
// (sp_getapplock) on a connection of its own, as a doorbell, and followers queue
// for it. Resigning releases it, and so does the death of the leader's
// connection. The lock never decides anything: whoever gets it tries to acquire
// the row, and the row decides. Groups beyond the limit are read in batches each
// PollInterval.
//
// # Permissions
//
// SELECT, INSERT and UPDATE on the table; application locks need none. Creating
// the table on demand needs CREATE TABLE and ALTER on the schema once: see
// [DDL] for the statement to run by hand instead, with NoAutoCreate set.
//
// # Entra ID
//
// The azuread driver of go-mssqldb pulls in the Azure identity libraries, so
// this package does not import it. Open the database yourself and hand it over:
//
//	import _ "github.com/microsoft/go-mssqldb/azuread" // registers "azuresql"
//
//	db, err := sql.Open("azuresql", "sqlserver://db.example.net?database=app&fedauth=ActiveDirectoryDefault")
//	backend, err := sqlserver.FromDB(db, sqlserver.Options{})
//
// # Clocks
//
// The server's wall clock decides expiry. A clock set back is found and costs at
// most one more TTL; one that is set forward, or a fail-over to a host whose
// clock is ahead, by more than the margin can let two terms overlap. The token
// still orders them: send it with every write.
package sqlserver
