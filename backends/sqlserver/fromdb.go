package sqlserver

import (
	"database/sql"
	"errors"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// FromDB returns a backend over a database of yours, opened with go-mssqldb (or
// its azuread driver, for Entra ID). It does not close db: stop the electors
// before you do. Options.ConnString must be empty.
//
// A doorbell keeps a connection; if db has a limit of open connections,
// there are at most that limit less four doorbells. Connections must commit each
// statement by themselves.
func FromDB(db *sql.DB, o Options) (*multilock.Backend, error) {
	d, i, err := NewDriverFromDB(db, o)
	if err != nil {
		return nil, err
	}
	return multilock.NewBackend(d, i)
}

// NewDriverFromDB is FromDB without the backend around it, for the conformance
// kit and for wrappers.
func NewDriverFromDB(db *sql.DB, o Options) (driver.Driver, driver.Info, error) {
	o, err := o.forClient()
	if db == nil {
		err = errors.Join(invalid("sqlserver.FromDB: db", "nil", "must be given"), err)
	}
	if err != nil {
		return nil, driver.Info{}, err
	}
	return newLeaseDriver(db, nil, o), info(o), nil
}
