package file

import (
	"errors"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Options configure the backend. Directory is required.
type Options struct {
	// Directory is shared by all participants.
	Directory string
	// Extension ends the name of each group's directory; ".leader" if empty.
	Extension string
	// NoAutoCreate refuses a directory that does not exist instead of creating it.
	NoAutoCreate bool
	// AllowNetworkFS allows network, cluster and FUSE file systems.
	AllowNetworkFS bool
}

func (o Options) withDefaults() Options {
	if o.Extension == "" {
		o.Extension = ".leader"
	}
	return o
}

// Validate reports all faults at once.
func (o Options) Validate() error {
	if o.Directory == "" {
		return errors.New("file: Directory: required")
	}
	return nil
}

// NewDriver validates o and builds the driver.
func NewDriver(o Options) (driver.Driver, driver.Info, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, driver.Info{}, err
	}
	d, err := newDriver(o)
	if err != nil {
		return nil, driver.Info{}, err
	}
	return d, driver.Info{
		Name: "file", Target: o.Directory,
		MinTTL: 100 * time.Millisecond, TTLGranularity: time.Millisecond,
		ExpiryFactor: 1, RemainingKnown: true,
		PushOnResign: true, PushOnExpiry: true,
		Calls: 4, RenewBatch: 500,
	}, nil
}
