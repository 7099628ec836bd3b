package conformance

import (
	"fmt"
	"slices"
	"strings"
)

// Power names something a harness can do to its store.
type Power string

// The powers, each with the field of [Harness] that provides it.
const (
	PowerLink        Power = "link"         // NewLinked
	PowerLock        Power = "lock"         // LockRecord
	PowerRemove      Power = "remove"       // RemoveRecord
	PowerCorrupt     Power = "corrupt"      // CorruptRecord
	PowerToken       Power = "token"        // SetToken
	PowerAge         Power = "age"          // Age
	PowerSession     Power = "session"      // EndSession
	PowerStepClock   Power = "step-clock"   // StepClock
	PowerRestart     Power = "restart"      // Restart
	PowerLoseData    Power = "lose-data"    // LoseData
	PowerSnapshot    Power = "snapshot"     // Snapshot
	PowerManualClock Power = "manual-clock" // ManualClock
	PowerProcess     Power = "process"      // URL, and Main in TestMain
	PowerRequests    Power = "requests"     // Requests
	PowerChecker     Power = "checker"      // Checker
)

// Powers lists all powers.
func Powers() []Power {
	return []Power{
		PowerLink, PowerLock, PowerRemove, PowerCorrupt, PowerToken, PowerAge, PowerSession,
		PowerStepClock, PowerRestart, PowerLoseData, PowerSnapshot, PowerManualClock,
		PowerProcess, PowerRequests, PowerChecker,
	}
}

// storeWide are the powers whose use would disturb rules running at the same time.
var storeWide = []Power{PowerStepClock, PowerRestart, PowerLoseData, PowerSnapshot, PowerManualClock}

// has reports whether the harness provides p.
func (h *Harness) has(p Power) bool {
	switch p {
	case PowerLink:
		return h.NewLinked != nil
	case PowerLock:
		return h.LockRecord != nil
	case PowerRemove:
		return h.RemoveRecord != nil
	case PowerCorrupt:
		return h.CorruptRecord != nil
	case PowerToken:
		return h.SetToken != nil
	case PowerAge:
		return h.Age != nil
	case PowerSession:
		return h.EndSession != nil
	case PowerStepClock:
		return h.StepClock != nil
	case PowerRestart:
		return h.Restart != nil
	case PowerLoseData:
		return h.LoseData != nil
	case PowerSnapshot:
		return h.Snapshot != nil
	case PowerManualClock:
		return h.ManualClock != nil
	case PowerProcess:
		return h.URL != ""
	case PowerRequests:
		return h.Requests != nil
	case PowerChecker:
		return h.Checker != nil
	}
	return false
}

// faults lists what is wrong with the harness itself, one line each.
func (h *Harness) faults() []string {
	var out []string
	if h.Name == "" {
		out = append(out, "Harness.Name is empty; give the store's name")
	}
	if h.NewDriver == nil {
		out = append(out, "Harness.NewDriver is nil; it must open a client of the store")
	}
	if h.TTL < minHarnessTTL {
		out = append(out, fmt.Sprintf("Harness.TTL is %v; allowed is %v and more", h.TTL, minHarnessTTL))
	}
	for _, p := range Powers() {
		reason, declared := h.Missing[p]
		switch {
		case !h.has(p) && !declared:
			out = append(out, fmt.Sprintf("power %q is neither provided nor declared in Harness.Missing", p))
		case h.has(p) && declared:
			out = append(out, fmt.Sprintf("power %q is provided but also declared missing (%s)", p, reason))
		case declared && strings.TrimSpace(reason) == "":
			out = append(out, fmt.Sprintf("power %q is declared missing without a reason", p))
		}
	}
	var unknown []string
	for p := range h.Missing {
		if !slices.Contains(Powers(), p) {
			unknown = append(unknown, fmt.Sprintf("Harness.Missing names the unknown power %q", p))
		}
	}
	slices.Sort(unknown)
	return append(out, unknown...)
}
