//go:build !linux

package file

import "errors"

// notifier: kqueue would need a descriptor per group, and ReadDirectoryChangesW
// does not tell of a close, so groups are polled here.
func (d *hostDisk) notifier(func(change)) (notifier, error) { return nil, errors.ErrUnsupported }
