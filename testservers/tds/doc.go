// Package tds is a stand-in for SQL Server in tests.
//
// SQL Server cannot be installed in every place where tests run. This server
// speaks enough of TDS 7.4 to be used by the real go-mssqldb driver: prelogin,
// SQL login, batches, sp_executesql, transactions by transaction manager
// request, attention, connection reset, and the application lock procedures.
//
// It has no SQL engine. It knows the statements that backends/sqlserver and its
// test harness send, by their exact text (up to white space and the name of the
// table), and has their semantics written by hand: row locks that last until the
// end of a transaction, lock time-outs, duplicate keys, missing tables,
// permissions, deadlocks, application locks with a queue. Any other statement is
// answered with an error.
//
// So a test that passes here shows that the driver, the protocol and the logic
// around the statements work, and that the statements' meaning, as written down
// here, keeps the guarantees. It is no evidence that a real server accepts the
// statements or gives them this meaning: for that the same tests run against a
// real one. Encryption is not supported (encrypt=disable).
package tds
