package sqlserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	mssql "github.com/microsoft/go-mssqldb"

	"github.com/multilock/multilock-go/core/driver"
)

// Error numbers of the server. Compatible servers send others for some of
// these; an unknown number is an uncertain error, which is always safe.
const (
	errTableMissing = 208
	errObjectExists = 2714
	errSchemaExists = 2759
	errCannotOpen   = 4060
)

// notApplied are the errors after which a single statement has certainly changed
// nothing. Every batch that writes ends after its one decisive write, so they
// speak for the whole batch.
var notApplied = map[int32]bool{
	1205: true, // deadlock victim
	1222: true, // lock time-out
	2601: true, // duplicate in a unique index
	2627: true, // duplicate key
	3960: true, // snapshot update conflict
}

// misconfigured are the errors that stay until somebody changes something, with
// what to change.
var misconfigured = map[int32]string{
	18456: "check user and password",
	18452: "the login comes from an untrusted domain; use a SQL login or Entra ID",
	18470: "the login is disabled",
	18486: "the login is locked out",
	18487: "the password has expired",
	18488: "the password must be changed",
	4060:  "the database does not exist or the login may not use it",
	4064:  "the login's default database cannot be opened; name one in the connection string",
	40532: "the server named in the login does not exist",
	40615: "the server's firewall must let this machine in",
	40914: "the server's firewall must let this network in",
	911:   "the database does not exist",
	916:   "the login is no user of the database",
	208:   "create the table with the DDL file, or let the backend create it",
	207:   "the table has other columns than the DDL file; choose another table name",
	213:   "the table has other columns than the DDL file; choose another table name",
	515:   "the table differs from the DDL file; choose another table name",
	229:   "grant SELECT, INSERT and UPDATE on the table",
	230:   "grant SELECT, INSERT and UPDATE on the table",
	262:   "grant CREATE TABLE, or create the table with the DDL file",
	2760:  "create the schema and grant ALTER on it, or create the table with the DDL file",
	195:   "the server lacks a function we need: SQL Server 2016 or newer, compatibility level 130 or higher",
	102:   "the server does not understand the statement: SQL Server 2016 or newer, compatibility level 130 or higher",
	319:   "the server does not understand the statement: SQL Server 2016 or newer, compatibility level 130 or higher",
}

// readOnly are the errors of a server that has become, or never was, the
// primary. The connection must not be used again: the next one may reach it.
var readOnly = map[int32]bool{
	3906: true, // the database is read-only
	976:  true, // the replica does not accept connections
	978:  true, // the replica accepts read-only intent only
	983:  true, // the replica's role is resolving
}

// classify turns an error of database/sql or the driver into one of the
// contract. What it does not know stays as it is: uncertain.
func classify(err error) error {
	if err == nil || isContract(err) {
		return err
	}
	numbers := errorNumbers(err)
	for _, n := range numbers {
		if hint, ok := misconfigured[n]; ok {
			return driver.Misconfigured(err, hint)
		}
	}
	for _, n := range numbers {
		if notApplied[n] || readOnly[n] {
			return fmt.Errorf("%w: %w", driver.ErrNotApplied, err)
		}
	}
	if len(numbers) > 0 {
		return err
	}
	if strings.Contains(err.Error(), "TLS Handshake failed") && strings.Contains(err.Error(), "x509:") {
		// The driver does not wrap it, so there is only the text to go by.
		return driver.Misconfigured(err, "trust the server's certificate, or set encrypt and TrustServerCertificate in the connection string")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" && !isContextError(err) {
		return fmt.Errorf("%w: %w", driver.ErrNotApplied, err)
	}
	return err
}

func isContract(err error) bool {
	for _, s := range []error{driver.ErrLost, driver.ErrNoLeader, driver.ErrClosed, driver.ErrResigned, driver.ErrNotApplied, driver.ErrMisconfigured} {
		if errors.Is(err, s) {
			return true
		}
	}
	_, held := errors.AsType[*driver.HeldError](err)
	return held
}

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// errorNumbers lists the numbers of all errors the server sent for one request:
// a refused login says first why, and last only that it was refused.
func errorNumbers(err error) []int32 {
	e, ok := errors.AsType[mssql.Error](err)
	if !ok {
		return nil
	}
	if len(e.All) == 0 {
		return []int32{e.Number}
	}
	numbers := make([]int32, 0, len(e.All))
	for _, one := range e.All {
		numbers = append(numbers, one.Number)
	}
	return numbers
}

func hasNumber(err error, wanted ...int32) bool {
	for _, n := range errorNumbers(err) {
		for _, w := range wanted {
			if n == w {
				return true
			}
		}
	}
	return false
}

func isReadOnly(err error) bool {
	for _, n := range errorNumbers(err) {
		if readOnly[n] {
			return true
		}
	}
	return false
}
