package conformance

import (
	"testing"
	"testing/synctest"

	"github.com/multilock/multilock-go/conformance/internal/model"
)

// TestReference runs every rule over a correct store: the rules ask for nothing
// a store cannot do. Time is simulated, which also shows that rules work inside a
// bubble.
func TestReference(t *testing.T) {
	for _, rule := range Rules() {
		t.Run(rule.ID, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				res := Execute(t, rule.ID, modelHarness(model.None))
				if res.Outcome == NotApplicable || res.Outcome == Missing && len(rule.Needs) > 0 && rule.Needs[0] != PowerProcess && rule.Needs[0] != PowerChecker {
					t.Errorf("%s: %s: %s", res.Rule, res.Outcome, res.Why)
				}
			})
		})
	}
}

// TestMutants runs over each broken store the rule that is to catch it.
func TestMutants(t *testing.T) {
	for _, m := range model.Bugs() {
		t.Run(m.Rule+"/"+string(m.Bug), func(t *testing.T) {
			t.Parallel()
			check := func(t *testing.T) {
				res := Execute(&muted{T: t}, m.Rule, modelHarness(m.Bug))
				if res.Outcome != Fail {
					t.Errorf("a store in which %s: rule %s says %s (%s), want fail", m.Bug, m.Rule, res.Outcome, res.Why)
				} else {
					t.Logf("caught: %s", res.Why)
				}
			}
			if m.Bug == model.LeakGoroutine { // a bubble would not end
				check(t)
			} else {
				synctest.Test(t, check)
			}
		})
	}
}
