// Package seam lets this backend's tests see the requests of a driver.
package seam

import (
	"net/http"

	"github.com/multilock/multilock-go/core/driver"
)

// Wrap puts wrap's result in front of the transport of d, which was made by
// NewDriver and not yet used. It is set by package azblob.
var Wrap func(d driver.Driver, wrap func(http.RoundTripper) http.RoundTripper)
