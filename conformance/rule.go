package conformance

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// Rule is one promise of a backend and the test that holds it to it.
type Rule struct {
	// ID is stable: topic, dash, words, e.g. "ACQ-one-winner".
	ID string
	// Title says in a few words what is tried.
	Title string
	// Promise is the text that a failure quotes.
	Promise string
	// Needs are the powers without which the rule cannot run.
	Needs []Power

	// applies, if set, says why the rule does not apply to a backend that declares
	// info, or returns "".
	applies func(d driver.Driver, info driver.Info) string
	// expiries is how many worst-case expiries the rule may take beyond a minute.
	expiries int
	body     func(r *run)
}

// GoName is the rule's name in a Go identifier: "ACQ-one-winner" is ACQOneWinner.
func (r Rule) GoName() string {
	var b strings.Builder
	for _, w := range strings.Split(r.ID, "-") {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// StoreWide reports whether the rule uses a power that would disturb rules
// running at the same time.
func (r Rule) StoreWide() bool {
	return slices.ContainsFunc(r.Needs, func(p Power) bool { return slices.Contains(storeWide, p) })
}

// Topic is the first part of the ID.
func (r Rule) Topic() string {
	topic, _, _ := strings.Cut(r.ID, "-")
	return topic
}

func (r Rule) limit(worst time.Duration) time.Duration {
	return time.Minute + time.Duration(max(r.expiries, 4))*(worst+2*time.Second)
}

// Rules lists all rules in the order in which they run.
func Rules() []Rule { return slices.Clone(allRules()) }

// RuleIDs lists the IDs of all rules in the same order.
func RuleIDs() []string {
	var ids []string
	for _, r := range allRules() {
		ids = append(ids, r.ID)
	}
	return ids
}

// Listing is the text of rules.txt: for each rule its ID, its Go name, its flags
// ("serial" or "parallel") and its title, separated by tabs.
func Listing() string {
	var b strings.Builder
	for _, r := range allRules() {
		flags := "parallel"
		if r.StoreWide() {
			flags = "serial"
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", r.ID, r.GoName(), flags, r.Title)
	}
	return b.String()
}

func findRule(id string) (Rule, error) {
	for _, r := range allRules() {
		if r.ID == id {
			return r, nil
		}
	}
	return Rule{}, fmt.Errorf("conformance: there is no rule %q; regenerate the entry tests, or see conformance.RuleIDs", id)
}

func allRules() []Rule {
	return slices.Concat(harnessRules, acquireRules, anchorRules, renewRules, recordRules, batchRules, resignRules,
		fenceRules, leaderRules, wakeRules, nameRules, closeRules, clockRules,
		raceRules, failoverRules, processRules, electorRules, workRules, certainRules, sizeRules)
}
