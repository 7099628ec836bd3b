package sqlserver

import (
	"net/url"

	"github.com/microsoft/go-mssqldb/msdsn"

	"github.com/multilock/multilock-go/core/driver"
)

// fromURL keeps the URL, without our own parameters, as the connection string.
func (o *Options) fromURL(u *url.URL) error {
	o.ConnString = u.String()
	return nil
}

// validate holds what the SQL driver says of the connection string. Its own
// words are left out, since they may quote a password.
func (o Options) validate(client bool) error {
	if client || o.ConnString == "" {
		return nil
	}
	config, err := msdsn.Parse(o.ConnString)
	if err != nil {
		return invalid("sqlserver.Options.ConnString", "", "must be a URL or keyword string that go-mssqldb understands")
	}
	if config.Parameters["fedauth"] != "" {
		return invalid("sqlserver.Options.ConnString", "", "must not name fedauth, which needs the azuread driver: open the database with it and use FromDB")
	}
	return nil
}

// adjustInfo declares what depends on the options.
func adjustInfo(o Options, i *driver.Info) {
	i.Connections = steadyConns + max(o.MaxDoorbells, 0)
	if config, err := msdsn.Parse(o.ConnString); err == nil && o.ConnString != "" {
		i.Target = config.Host + "/" + config.Database + " "
	}
	i.Target += o.Schema + "." + o.Table
}
