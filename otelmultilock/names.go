package otelmultilock

// The names of instruments and attributes are stable: dashboards depend on them.
// The tables of README.md are made from them: go test . -update.
const (
	MetricLeader   = "multilock.leader"            // gauge: 1 while this process leads, else 0
	MetricToken    = "multilock.term.token"        // gauge: fencing token of the current term, 0 without one
	MetricChanges  = "multilock.changes"           // counter: transitions by kind and cause
	MetricTerm     = "multilock.term.duration"     // histogram, s: how long terms lasted
	MetricAttempts = "multilock.acquire.attempts"  // counter: attempts by outcome
	MetricAcquire  = "multilock.acquire.duration"  // histogram, s: time until an attempt was answered
	MetricRenew    = "multilock.renew.duration"    // histogram, s: time until a renewal was answered
	MetricLeft     = "multilock.renew.left"        // histogram, s: time left until the deadline when a renewal was answered
	MetricResign   = "multilock.resign.duration"   // histogram, s: time until a resignation was answered
	MetricHandover = "multilock.handover.duration" // histogram, s: from stepping down to the confirmed resignation

	AttrBackend = "multilock.backend" // name of the backend, e.g. redis
	AttrGroup   = "multilock.group"   // the election
	AttrKind    = "multilock.change"  // acquired, lost, changed, overrun, stopped
	AttrCause   = "multilock.cause"   // why: stopped, resigned, work_done, lost, expired, clock, drain_timeout, closed, misconfigured, other, none
	AttrOutcome = "multilock.outcome" // won, held, misconfigured, uncertain; for renewals ok, lost, uncertain
	AttrToken   = "multilock.token"   // of spans only: tokens are too many for metrics
)
