package file

import (
	"context"
	"errors"
	"io/fs"

	"github.com/multilock/multilock-go/backends/file/internal/osfile"
	"github.com/multilock/multilock-go/core/driver"
)

var (
	errNoDirectory = errors.New("file: the directory does not exist")
	errNetwork     = errors.New("file: the directory is on a network, cluster or FUSE file system")
	errPlatform    = osfile.ErrPlatform
	errMarker      = errors.New("file: the group's directory belongs to another group")
)

// classify marks what no retry can cure. What is left is uncertain: core retries
// it until the deadline.
func classify(err error) error {
	hint := ""
	var held *driver.HeldError
	switch {
	case err == nil,
		errors.As(err, &held),
		errors.Is(err, driver.ErrLost),
		errors.Is(err, driver.ErrResigned),
		errors.Is(err, driver.ErrNotApplied),
		errors.Is(err, driver.ErrMisconfigured),
		errors.Is(err, context.Canceled),
		errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, errNoDirectory):
		hint = "create it, where all participants can write, or leave NoAutoCreate unset"
	case errors.Is(err, errNetwork):
		hint = "use a local directory; AllowNetworkFS overrides this, and then only fencing tokens protect the resource"
	case errors.Is(err, errPlatform):
		hint = "use Linux, macOS or Windows, or another backend"
	case errors.Is(err, errMarker):
		hint = "let nothing else write into the directory"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, errReadOnly):
		hint = "all participants need to read and write the directory, on a file system with hard links"
	case errors.Is(err, errors.ErrUnsupported):
		hint = "use a file system with hard links and file locks"
	case errors.Is(err, errNotDirectory):
		hint = "the path must be a directory"
	default:
		return err
	}
	return driver.Misconfigured(err, hint)
}
