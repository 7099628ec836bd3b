package conformance

import (
	"github.com/multilock/multilock-go/core/driver"
)

var harnessRules = []Rule{
	{
		ID:      "HAR-declared",
		Title:   "the harness declares each missing power, the driver what it can do",
		Promise: "Every power is provided or declared missing with a reason, and what the backend declares agrees with the interfaces its driver has.",
		body: func(r *run) {
			d, info := r.h.NewDriver(r)
			r.Cleanup(func() { _ = d.Close() })
			for _, f := range infoFaults(d, info) {
				r.Errorf("%s", f)
			}
			if info.MinTTL > r.h.TTL || info.MaxTTL > 0 && info.MaxTTL < r.h.TTL {
				r.Errorf("Harness.TTL %v is outside the declared range %v to %v", r.h.TTL, info.MinTTL, info.MaxTTL)
			}
			if g := info.TTLGranularity; g > 0 && r.h.TTL%g != 0 {
				r.Errorf("Harness.TTL %v is not a multiple of the declared granularity %v", r.h.TTL, g)
			}
		},
	},
}

// infoFaults lists where a declaration contradicts the driver or itself.
func infoFaults(d driver.Driver, info driver.Info) []string {
	var out []string
	add := func(bad bool, text string) {
		if bad {
			out = append(out, text)
		}
	}
	_, watcher := d.(driver.Watcher)
	_, reader := d.(driver.BatchReader)
	_, acquirer := d.(driver.BatchAcquirer)
	push := info.PushOnResign || info.PushOnExpiry
	add(info.Name == "", "Info.Name is empty")
	add(info.Calls < 1, "Info.Calls is below 1")
	add(push && !watcher, "Info declares a push, but the driver is no Watcher")
	add(watcher && !push, "the driver is a Watcher, but Info declares no push")
	add(reader && info.ReadBatch < 1, "the driver is a BatchReader, but Info.ReadBatch is below 1")
	add(!reader && info.ReadBatch > 0, "Info.ReadBatch is declared, but the driver is no BatchReader")
	add(acquirer && info.AcquireBatch < 1, "the driver is a BatchAcquirer, but Info.AcquireBatch is below 1")
	add(!acquirer && info.AcquireBatch > 0, "Info.AcquireBatch is declared, but the driver is no BatchAcquirer")
	add(info.ExpiryFactor != 0 && info.ExpiryFactor < 1, "Info.ExpiryFactor is below 1")
	add(info.MinTTL < 0 || info.ExpirySlack < 0 || info.Shortening < 0, "Info has a negative duration")
	add(!push && !info.RemainingKnown && info.PollDivisor < 1, "Info declares neither a push, nor the remaining time, nor polling: followers would never know when to try")
	return out
}
