package zookeeper

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/go-zookeeper/zk"
	"github.com/multilock/multilock-go/core/driver"
)

// explain marks the errors that only another configuration can mend. The rest is
// uncertain and stays as it is.
func explain(err error) error {
	switch {
	case err == nil || errors.Is(err, driver.ErrMisconfigured):
		return err
	case errors.Is(err, zk.ErrNoAuth):
		return driver.Misconfigured(err, "the ACL of the nodes below RootPath does not let this client in: set AuthDigest, or give it all permissions there")
	case errors.Is(err, zk.ErrAuthFailed), errors.Is(err, zk.ErrInvalidACL):
		return driver.Misconfigured(err, "the servers refuse the credentials in AuthDigest: it must be user:password, and the digest scheme enabled")
	case errors.Is(err, zk.ErrInvalidPath):
		return driver.Misconfigured(err, "RootPath must be a valid path")
	}
	return err
}

// lostConnection reports whether err says nothing but that the connection, and
// with it perhaps the answer, is gone.
func lostConnection(err error) bool {
	if errors.Is(err, errOffline) {
		return false // there was none
	}
	if _, ok := errors.AsType[net.Error](err); ok && !errors.Is(err, context.DeadlineExceeded) {
		return true // the library passes on what writing returned
	}
	return errors.Is(err, net.ErrClosed) || errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) ||
		errors.Is(err, zk.ErrSessionMoved) || errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, errMoved)
}

// errMoved says that the session ended while a request was under way: it may have
// been executed in that session or in the next one.
var errMoved = errors.New("zookeeper: the session ended during the request")

// offline is the error of an operation that found no connection to use.
func offline(why, dial error) error {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](dial); ok {
		return driver.Misconfigured(fmt.Errorf("zookeeper: %w", dial), "TLSConfig must trust the certificates of the servers")
	}
	if dial != nil {
		return fmt.Errorf("%w: %w (last attempt: %w)", errOffline, why, dial)
	}
	return fmt.Errorf("%w: %w", errOffline, why)
}

// errOffline marks operations that were not sent.
var errOffline = errors.New("zookeeper: not connected")

// errAllFailed is why a call gives up before its context ends.
var errAllFailed = errors.New("no server accepts connections")

// ended is the error of a call given up because its context ended.
func ended(ctx context.Context) error {
	return fmt.Errorf("zookeeper: no answer: %w", context.Cause(ctx))
}
