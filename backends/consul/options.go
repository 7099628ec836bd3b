package consul

import (
	"errors"
	"net/url"
	"strings"
)

// fromURL takes the address from a URL such as consul://localhost:8500. A
// password in it would be in the way of Consul's tokens, and is refused.
func (o *Options) fromURL(u *url.URL) error {
	var faults []error
	if u.User != nil {
		faults = append(faults, invalid("consul URL", "", "must not hold a user or password; give the ACL token in Options.Token or MULTILOCK_CONSUL_TOKEN"))
	}
	if u.Fragment != "" {
		faults = append(faults, invalid("consul URL", "", "must not have a fragment"))
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		faults = append(faults, invalid("consul URL path", quote(u.Path), "must be empty; the prefix of the keys is multilock.key_prefix"))
	}
	if u.Host != "" {
		o.Address = "http://" + u.Host
	}
	return errors.Join(faults...)
}

// validate checks what depends on more than one field.
func (o Options) validate(client bool) error {
	var faults []error
	scheme, _, found := strings.Cut(o.Address, "://")
	if !client && found && scheme != "http" && scheme != "https" && scheme != "unix" {
		faults = append(faults, invalid("consul.Options.Address", quote(o.Address), "must begin with http://, https:// or unix://, or have no scheme"))
	}
	if !client && o.TLSConfig != nil && scheme != "https" {
		faults = append(faults, invalid("consul.Options.TLSConfig", "", "must be left empty unless Address begins with https://"))
	}
	for _, part := range strings.Split(strings.TrimRight(o.KeyPrefix, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			faults = append(faults, invalid("consul.Options.KeyPrefix", quote(o.KeyPrefix), "must have no empty part, nor . or .., between slashes"))
			break
		}
	}
	return errors.Join(faults...)
}
