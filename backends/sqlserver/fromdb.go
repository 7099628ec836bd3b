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
	d, info, err := newDriverFromDB(db, o)
	if err != nil {
		return nil, err
	}
	return multilock.NewBackend(d, info)
}

func newDriverFromDB(db *sql.DB, o Options) (driver.Driver, driver.Info, error) {
	if db == nil {
		return nil, driver.Info{}, errors.New("sqlserver: FromDB: db is nil")
	}
	if o.ConnString != "" {
		return nil, driver.Info{}, errors.New("sqlserver: FromDB: Options.ConnString must be empty, since the database is given")
	}
	o = o.withDefaults()
	return newLeaseDriver(db, nil, o), info(o), nil
}
