package azblob

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/multilock/multilock-go/core/driver"
)

// isLost reports whether err says that the lease asked about is not the live
// one: it expired, was released, broken or taken, or its blob is gone.
func isLost(err error) bool {
	return errors.Is(err, driver.ErrLost) || bloberror.HasCode(err,
		bloberror.LeaseLost,
		bloberror.LeaseIDMismatchWithLeaseOperation,
		bloberror.LeaseIDMismatchWithBlobOperation,
		bloberror.LeaseNotPresentWithLeaseOperation,
		bloberror.LeaseNotPresentWithBlobOperation,
		bloberror.LeaseIsBrokenAndCannotBeRenewed,
		bloberror.BlobNotFound,
		bloberror.ContainerNotFound,
	)
}

// isHeld reports whether err says that another lease is live.
func isHeld(err error) bool {
	return bloberror.HasCode(err, bloberror.LeaseAlreadyPresent, bloberror.LeaseIsBreakingAndCannotBeAcquired)
}

// isChanged reports whether err says that the blob is not the one that was read.
func isChanged(err error) bool { return bloberror.HasCode(err, bloberror.ConditionNotMet) }

func isMissing(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound)
}

// isDial reports whether no connection was made, so that nothing was sent.
func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// hints say what to change, by error code.
var hints = map[bloberror.Code]string{
	bloberror.AuthenticationFailed:              "check AccountName with AccountKey, SASToken or Credential, and the clock of this machine",
	bloberror.InvalidAuthenticationInfo:         "check AccountName with AccountKey, SASToken or Credential",
	bloberror.AuthorizationFailure:              permissionHint + ", and the firewall of the account must let this machine in",
	bloberror.AuthorizationPermissionMismatch:   permissionHint,
	bloberror.InsufficientAccountPermissions:    permissionHint,
	bloberror.AuthorizationProtocolMismatch:     "the shared access signature allows https only",
	bloberror.AuthorizationResourceTypeMismatch: "the shared access signature must be for blobs (and for containers, unless NoAutoCreate is set)",
	bloberror.AuthorizationServiceMismatch:      "the shared access signature must be for the blob service",
	bloberror.AuthorizationSourceIPMismatch:     "the shared access signature does not allow this machine's address",
	bloberror.AccountIsDisabled:                 "the storage account is disabled",
	bloberror.ContainerNotFound:                 "create the container, or leave NoAutoCreate unset",
	bloberror.ContainerDisabled:                 "an administrator has disabled the container",
	bloberror.InvalidResourceName:               "check Container",
	bloberror.InvalidURI:                        "check AccountURL and Container",
	bloberror.InvalidBlobType:                   "a blob of another type has the group's name: use a container of its own",
	bloberror.BlobArchived:                      "the group's blob was archived: use a container without life cycle rules",
	bloberror.BlobImmutableDueToPolicy:          "the container has an immutability policy: use another",
}

// isRefusedCredential reports whether Entra ID has answered that a credential is
// wrong. Its error is one of azidentity, which this module does not import: it is
// marked as one that no retry cures, and has the answer in its field RawResponse.
// Without an answer, or with one of an outage, it is marked all the same.
func isRefusedCredential(err error) bool {
	var marked interface {
		error
		NonRetriable()
	}
	if !errors.As(err, &marked) {
		return false
	}
	v := reflect.Indirect(reflect.ValueOf(marked))
	if v.Kind() != reflect.Struct {
		return false
	}
	field := v.FieldByName("RawResponse")
	if !field.IsValid() || !field.CanInterface() {
		return false
	}
	answer, ok := field.Interface().(*http.Response)
	return ok && answer != nil && (answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusUnauthorized)
}

const permissionHint = "the identity needs to read, create and write blobs of the container, and to create the container unless NoAutoCreate is set"

// classify marks what no retry can cure and removes secrets. What is left is
// uncertain: core retries it until the deadline.
func classify(err error) error {
	var held *driver.HeldError
	switch {
	case err == nil,
		errors.As(err, &held),
		errors.Is(err, driver.ErrLost),
		errors.Is(err, driver.ErrNoLeader),
		errors.Is(err, driver.ErrResigned),
		errors.Is(err, driver.ErrClosed),
		errors.Is(err, driver.ErrMisconfigured):
		return err
	}
	err = redact(err)
	if isRefusedCredential(err) {
		return driver.Misconfigured(err, "check Credential: Entra ID refuses to give it a token")
	}
	var answer *azcore.ResponseError
	if !errors.As(err, &answer) {
		return err
	}
	short := &storeError{answer}
	if hint, ok := hints[bloberror.Code(answer.ErrorCode)]; ok {
		return driver.Misconfigured(short, hint)
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return driver.Misconfigured(short, permissionHint)
	}
	return short
}

// storeError tells an answer of the store in one line; the SDK's own text is the
// whole answer.
type storeError struct{ err *azcore.ResponseError }

func (e *storeError) Error() string {
	code := e.err.ErrorCode
	if code == "" {
		code = http.StatusText(e.err.StatusCode)
	}
	return fmt.Sprintf("azblob: the store answers %d %s", e.err.StatusCode, code)
}

func (e *storeError) Unwrap() error { return e.err }

// redact takes the URL, whose parameters may be a shared access signature, out
// of an error of the HTTP client.
func redact(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	if errors.Is(u.Err, context.Canceled) || errors.Is(u.Err, context.DeadlineExceeded) {
		return fmt.Errorf("azblob: no answer: %w", u.Err)
	}
	return fmt.Errorf("azblob: %s: %w", u.Op, u.Err)
}
