package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/multilock/multilock-go/core/driver"
	goredis "github.com/redis/go-redis/v9"
)

// Replies with which a server says that it did not execute the command. None of
// the scripts writes before it could meet one of them.
var notApplied = []string{
	"READONLY ", "LOADING ", "MASTERDOWN ", "CLUSTERDOWN ", "TRYAGAIN ", "MOVED ", "ASK ", "BUSY ",
	"OOM ", "MISCONF ", "NOREPLICAS ", "NOSCRIPT ", "ERR max number of clients",
}

// Replies that stay the same until somebody changes the configuration, and what
// to change.
var misconfigured = []struct{ text, hint string }{
	{"WRONGPASS ", "check Username and Password"},
	{"NOAUTH ", "the server wants a password: set Password, and Username if it has ACL users"},
	{"ERR invalid password", "check Password"},
	{"ERR AUTH ", "the server has no password: leave Password empty"},
	{"ERR Client sent AUTH, but no password is set", "the server has no password: leave Password empty"},
	{"NOPERM ", aclHint},
	{"ERR The user executing the script can't ", aclHint},
	{"ERR DB index is out of range", "the server has no database of that number: check Database"},
	{"ERR invalid DB index", "the server has no database of that number: check Database"},
	{"ERR SELECT is not allowed in cluster mode", "a cluster has only database 0: set Cluster and leave Database 0"},
	{"ERR This instance has cluster support disabled", "the server is not part of a cluster: leave Cluster unset and give one address"},
	{"ERR unknown command", "the server lacks a command that is needed: Redis 5 or newer, or a compatible server, with EVALSHA, HSET, TIME and PUBLISH"},
	{"DENIED Redis is running in protected mode", "the server accepts only local clients: give it a password or bind it"},
}

const aclHint = "the ACL user needs +eval +evalsha +hmget +hset +hincrby +hget +exists +time +lastsave +info +publish +subscribe +unsubscribe +ping (in a cluster +cluster|slots +spublish +ssubscribe +sunsubscribe; with WaitReplicas +wait), and keys and channels ~KeyPrefix:* &KeyPrefix:*"

// classify turns an error of the SDK into one of the contract. single says that
// the request was sent once at most, so that a refusal of this send settles it.
func classify(ctx context.Context, err error, single bool) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !isReply(err) {
		// Its connection was closed under the call; that error would only confuse.
		return fmt.Errorf("redis: no answer: %w", context.Cause(ctx))
	}
	if errors.Is(err, goredis.ErrClosed) {
		return errors.Join(driver.ErrClosed, err)
	}
	text := err.Error()
	if strings.Contains(text, "all sentinels specified in configuration") {
		if errors.Is(err, goredis.Nil) { // one of them answered that it knows no such master
			return driver.Misconfigured(err, "the sentinels know no master of that name: check SentinelMaster")
		}
		return fmt.Errorf("%w: %w", driver.ErrNotApplied, err)
	}
	if isReply(err) {
		for _, m := range misconfigured {
			if strings.HasPrefix(text, m.text) {
				return driver.Misconfigured(err, m.hint)
			}
		}
		for _, prefix := range notApplied {
			if single && strings.HasPrefix(text, prefix) {
				return fmt.Errorf("%w: %w", driver.ErrNotApplied, err)
			}
		}
		return err
	}
	if hint := tlsHint(err); hint != "" {
		return driver.Misconfigured(err, hint)
	}
	var op *net.OpError
	if single && errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w: %w", driver.ErrNotApplied, err)
	}
	return err
}

// isReply reports whether err is an answer of the server.
func isReply(err error) bool {
	var e goredis.Error
	return errors.As(err, &e)
}

func tlsHint(err error) string {
	var verify *tls.CertificateVerificationError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var header tls.RecordHeaderError
	switch {
	case errors.As(err, &host):
		return "the server's certificate is for another name: check Addrs, or set TLSConfig.ServerName"
	case errors.As(err, &verify), errors.As(err, &authority):
		return "the server's certificate is not trusted: set TLSConfig.RootCAs"
	case errors.As(err, &header):
		return "the server does not speak TLS on this port: leave TLS unset or use its TLS port"
	}
	return ""
}
