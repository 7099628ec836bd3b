package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
)

// isCluster reports whether Addrs belong to a cluster.
func (o Options) isCluster() bool {
	return o.Cluster || len(o.Addrs) > 1 && o.SentinelMaster == ""
}

func (o Options) tlsConfig() *tls.Config {
	if o.TLSConfig == nil && o.TLS {
		return &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return o.TLSConfig
}

// validate holds the rules between options.
func (o Options) validate(bool) error {
	var faults []error
	if o.isCluster() && o.Database != 0 {
		faults = append(faults, invalid("redis.Options.Database", strconv.Itoa(o.Database), "must be 0 in a cluster"))
	}
	if o.Cluster && o.SentinelMaster != "" {
		faults = append(faults, invalid("redis.Options.SentinelMaster", quote(o.SentinelMaster), "must be empty in a cluster"))
	}
	if o.SentinelMaster == "" && (o.SentinelUsername != "" || o.SentinelPassword != "") {
		faults = append(faults, invalid("redis.Options.SentinelMaster", "", "must be given with SentinelUsername or SentinelPassword"))
	}
	return errors.Join(faults...)
}

// adjustInfo corrects what depends on the options.
func adjustInfo(o Options, i *driver.Info) {
	if o.isCluster() {
		i.Connections = 0 // up to four for each master, and a hedge
	}
}

// fromURL takes server, credentials, database and TLS from a URL as the SDK
// understands it. Settings of the SDK's pool are refused: the connections of the
// driver are its own; FromClient takes a client with any settings.
func (o *Options) fromURL(u *url.URL) error {
	query := u.Query()
	skip := false
	for name, values := range query {
		var err error
		text := values[len(values)-1]
		switch name {
		case "db":
			o.Database, err = strconv.Atoi(text)
		case "addr":
			o.Addrs = append(o.Addrs, values...)
		case "skip_verify":
			skip, err = strconv.ParseBool(text)
		default:
			return invalid("redis URL parameter", quote(name), "must be db, addr, skip_verify or start with multilock.; FromClient takes a client with other settings")
		}
		if err != nil {
			return invalid("redis URL parameter "+name, quote(text), "must be a number or true or false")
		}
	}
	u.RawQuery = ""
	parsed, err := goredis.ParseURL(u.String())
	if err != nil {
		return invalid("redis URL", "", "must be like redis://user:password@localhost:6379/0")
	}
	if u.Host != "" {
		o.Addrs = append([]string{parsed.Addr}, o.Addrs...)
	}
	if parsed.Username != "" {
		o.Username = parsed.Username
	}
	if parsed.Password != "" {
		o.Password = parsed.Password
	}
	if parsed.DB != 0 {
		o.Database = parsed.DB
	}
	if parsed.TLSConfig != nil {
		o.TLS = true
		if skip {
			o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true} // the user asks for it
		}
	} else if skip {
		return invalid("redis URL parameter", "skip_verify", "needs the scheme rediss")
	}
	return nil
}

// FromClient returns a backend over a client of your own: one of
// goredis.NewClient, NewFailoverClient, NewClusterClient or NewUniversalClient,
// where goredis is github.com/redis/go-redis/v9. The client stays yours: stop the
// electors, close the backend, then close the client. The options that say how
// to connect must be left empty.
//
// The backend's calls share the client's pool with yours. A call that is given up
// keeps its connection until the client's own ReadTimeout; set
// ContextTimeoutEnabled and enough PoolSize, or let Open make connections of its
// own. A goredis.Ring is refused: it moves keys to another server when one is
// unreachable, and a group would have two leaders.
func FromClient(c goredis.UniversalClient, o Options) (*multilock.Backend, error) {
	o, err := o.forClient()
	if err != nil {
		return nil, err
	}
	switch v := c.(type) {
	case nil:
		return nil, invalid("client", "", "must not be nil")
	case *goredis.Client:
		o.Addrs = []string{v.Options().Addr}
	case *goredis.ClusterClient:
		o.Addrs, o.Cluster = v.Options().Addrs, true
	default:
		return nil, invalid("client", fmt.Sprintf("%T", c), "must be a *Client or a *ClusterClient")
	}
	i := info(o)
	i.Connections = 0
	i.Target = strings.Join(o.Addrs, ",")
	return multilock.NewBackend(newUserDriver(c, o), i)
}
