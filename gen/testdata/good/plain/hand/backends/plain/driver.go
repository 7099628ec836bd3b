package plain

import (
	"context"
	"errors"

	"github.com/multilock/multilock-go/core/driver"
)

type store struct{ o Options }

func newDriver(o Options) (driver.Driver, error) { return &store{o}, nil }

var errNo = errors.New("no")

func (*store) Acquire(context.Context, driver.AcquireRequest) (driver.Grant, error) {
	return driver.Grant{}, errNo
}
func (*store) Renew(context.Context, []driver.RenewRequest, func(driver.RenewResult)) {}
func (*store) Resign(context.Context, driver.Term) error                              { return errNo }
func (*store) Leader(context.Context, string) (driver.Record, error) {
	return driver.Record{}, errNo
}
func (*store) Close() error { return nil }
