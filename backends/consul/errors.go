package consul

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

var (
	errConflict   = errors.New("consul: the key changed during the transaction")
	errElsewhere  = errors.New("consul: the term is live in the session of another client")
	errFiltered   = errors.New("consul: an entry is missing from the answer; the ACL token may not read it")
	errNoIndex    = errors.New("consul: the answer has no index")
	errOver       = errors.New("consul: the term is being ended")
	errLockDelay  = errors.New("consul: lock-delay")
	errSession    = errors.New("consul: the session is invalid")
	errUnexpected = errors.New("consul: unexpected answer to a transaction")
)

// misconfigurations are what Consul says when retrying cannot help. It answers
// with prose, and often with status 500, so there is nothing else to go by. What
// is not recognised here stays uncertain and is retried, which is safe.
var misconfigurations = []struct{ text, hint string }{
	{"ACL not found", "the ACL token is unknown to Consul"},
	{"Permission denied", "the ACL token needs session:write on the agent's node and key:write below KeyPrefix"},
	{"Unexpected response code: 403", "the ACL token needs session:write on the agent's node and key:write below KeyPrefix"},
	{"Invalid Session TTL", "the server's session_ttl_min is above the time-to-live; see MinSessionTTL"},
	{"No path to datacenter", "no server of this datacenter is known to the agent"},
	{"Enterprise feature", "namespaces and partitions need Consul Enterprise"},
	{"Invalid Namespace", "the namespace does not exist"},
	{"Missing check", "a health check named in NodeChecks is not registered on the agent's node"},
	{"server gave HTTP response to HTTPS client", "the address speaks http, not https"},
	{"too large", "the record exceeds the server's kv_max_value_size or txn_max_req_len; use less metadata"},
}

// classify marks misconfigurations. Everything else is uncertain as it is.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var status api.StatusError
	if errors.As(err, &status) && status.Code == 403 {
		return driver.Misconfigured(err, "the ACL token needs session:write on the agent's node and key:write below KeyPrefix")
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return driver.Misconfigured(err, "the server's certificate is not trusted; see TLSConfig")
	}
	text := err.Error()
	for _, m := range misconfigurations {
		if strings.Contains(text, m.text) {
			return driver.Misconfigured(err, m.hint)
		}
	}
	return err
}

// notSent reports whether a request that failed with err never left.
func notSent(err error) bool {
	var op *net.OpError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &op) && op.Op == "dial"
}

// notApplied marks an attempt that certainly changed nothing.
func notApplied(err error) error {
	return fmt.Errorf("%w: %w", driver.ErrNotApplied, err)
}
