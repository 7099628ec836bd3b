package alpha

import (
	"context"
	"errors"
	"net/url"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

type Clock interface{ Now() int64 }

type alphaDriver struct{ o Options }

func newDriver(o Options) (driver.Driver, error) { return &alphaDriver{o}, nil }

func adjustInfo(o Options, i *driver.Info) { i.ExpirySlack += o.Wait }

func (o *Options) fromURL(u *url.URL) error {
	if u.Port() == "" {
		return invalid("alpha URL", "", "must have a port")
	}
	o.Endpoint = "https://" + u.Host
	o.Name = "fromurl"
	o.APIKey = "key"
	o.TLS = u.Scheme == "alphas"
	return nil
}

func (o Options) validate(client bool) error {
	if !client && o.TLSConfig != nil && !o.TLS {
		return invalid("alpha.Options.TLSConfig", "", "must come with TLS")
	}
	return nil
}

func FromClient(c Clock, o Options) (*multilock.Backend, error) {
	o, err := o.forClient()
	if err != nil {
		return nil, err
	}
	return multilock.NewBackend(&alphaDriver{o}, info(o))
}

var errNo = errors.New("no")

func (*alphaDriver) Acquire(context.Context, driver.AcquireRequest) (driver.Grant, error) {
	return driver.Grant{}, errNo
}
func (*alphaDriver) Renew(context.Context, []driver.RenewRequest, func(driver.RenewResult)) {}
func (*alphaDriver) Resign(context.Context, driver.Term) error                              { return errNo }
func (*alphaDriver) Leader(context.Context, string) (driver.Record, error) {
	return driver.Record{}, errNo
}
func (*alphaDriver) Close() error { return nil }
func (*alphaDriver) AcquireBatch(context.Context, []driver.AcquireRequest, func(int, driver.Grant, error)) {
}
func (*alphaDriver) Leaders(context.Context, []string, func(string, driver.Record, error)) {}
func (*alphaDriver) Ping(context.Context) error                                            { return nil }
func (*alphaDriver) Watch(context.Context, driver.Sink) (driver.Subscription, error) {
	return nil, errNo
}
