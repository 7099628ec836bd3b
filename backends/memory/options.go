package memory

import (
	"net/url"

	"github.com/multilock/multilock-go/core/driver"
)

// fromURL takes the store's name: memory://name.
func (o *Options) fromURL(u *url.URL) error {
	o.Name = u.Host
	if u.Host == "" || u.Path != "" && u.Path != "/" || u.User != nil {
		return invalid("url", quote(u.String()), "must be memory://name, since a store without a name could be shared with nobody")
	}
	return nil
}

// validate holds the rules between options.
func (o Options) validate(bool) error {
	switch {
	case o.Name != "" && o.Store != nil:
		return invalid("Options.Name", o.Name, "must be empty together with Store")
	case o.Name != "" && inBubble():
		return invalid("Options.Name", o.Name, "must be empty inside a testing/synctest bubble: a named store is shared by the whole process, with clocks of other bubbles; share a Store instead")
	}
	return nil
}

// adjustInfo says which store it is.
func adjustInfo(o Options, i *driver.Info) {
	switch {
	case o.Name != "":
		i.Target = "named " + o.Name
	case o.Store != nil:
		i.Target = "shared"
	default:
		i.Target = "private"
	}
}
