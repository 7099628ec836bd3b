package sqlserver

import (
	"errors"
	"fmt"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Options configures the backend. Temporary: replaced by the generated one.
type Options struct {
	ConnString string
	Schema           string
	Table            string
	NoAutoCreate     bool
	CommandTimeout   time.Duration
	MaxDoorbells     int
	PollInterval     time.Duration
}

func (o Options) withDefaults() Options {
	if o.Schema == "" {
		o.Schema = "dbo"
	}
	if o.Table == "" {
		o.Table = "LeaderElection"
	}
	if o.CommandTimeout == 0 {
		o.CommandTimeout = 30 * time.Second
	}
	if o.MaxDoorbells == 0 {
		o.MaxDoorbells = 8
	}
	if o.PollInterval == 0 {
		o.PollInterval = time.Second
	}
	return o
}

// Validate reports all faults.
func (o Options) Validate() error {
	if o.ConnString == "" {
		return errors.New("sqlserver: Options.ConnString: required")
	}
	return nil
}

func (o Options) String() string { return fmt.Sprintf("sqlserver{%s.%s}", o.Schema, o.Table) }

// NewDriver returns a driver. Temporary: replaced by the generated one.
func NewDriver(o Options) (driver.Driver, driver.Info, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, driver.Info{}, err
	}
	d, err := newDriver(o)
	return d, info(o), err
}

func info(o Options) driver.Info {
	i := driver.Info{Name: "sqlserver", MinTTL: 500 * time.Millisecond, TTLGranularity: time.Millisecond, ExpiryFactor: 1,
		RemainingKnown: true, PushOnResign: true, PushOnExpiry: true, Calls: 1, Hedge: true, RenewBatch: 500, ReadBatch: 500}
	adjustInfo(o, &i)
	return i
}
