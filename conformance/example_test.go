package conformance_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/conformance"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// What a backend of yours offers.
var mystore struct {
	NewDriver func(dir string) (driver.Driver, driver.Info, error)
	OpenURL   func(ctx context.Context, url string) (*multilock.Backend, error)
}

// newHarness is a fresh namespace in the store, and what the test may do to it.
func newHarness(tb conformance.TB) conformance.Harness {
	dir := tb.TempDir()
	return conformance.Harness{
		Name: "mystore",
		TTL:  2 * time.Second,
		NewDriver: func(tb conformance.TB) (driver.Driver, driver.Info) {
			d, info, err := mystore.NewDriver(dir)
			if err != nil {
				tb.Fatalf("open: %v", err)
			}
			return d, info
		},
		Missing: map[conformance.Power]string{
			conformance.PowerLink: "the store is a local file",
			// ... one line for each power that is not there
		},
	}
}

// func TestConformance(t *testing.T): every rule as a subtest.
func ExampleRun() {
	var t *testing.T // that of the test function
	conformance.Run(t, newHarness)
}

// func TestMain(m *testing.M): candidates in processes of their own, and a report.
func ExampleMain() {
	var m *testing.M // that of TestMain
	conformance.Main(m, mystore.OpenURL)
}

// One rule; "gen conformance" makes a test function for each.
func ExampleRunRule() {
	var t *testing.T // that of the test function
	conformance.RunRule(t, "ACQ-one-winner", newHarness)
}

// One rule without package testing's help, which works inside a bubble of
// testing/synctest.
func ExampleExecute() {
	var t *testing.T // that of the test function
	result := conformance.Execute(t, "ACQ-one-winner", newHarness)
	if result.Outcome != conformance.Pass {
		t.Error(result.Failures)
	}
}

// The rules and what they promise; Listing is the same as text, for the generator.
func ExampleRules() {
	rules := conformance.Rules()
	first := rules[slices.IndexFunc(rules, func(r conformance.Rule) bool { return r.ID == "ACQ-one-winner" })]
	fmt.Println(first.Topic(), first.GoName(), first.StoreWide())
	fmt.Println(first.Title)
	fmt.Println(len(conformance.RuleIDs()) == len(rules), conformance.Listing() != "", len(conformance.Powers()) > 0)
	// Output:
	// ACQ ACQOneWinner false
	// many clients try at once: exactly one wins
	// true true true
}

// Main and Run write reports by themselves; these are for results of Execute.
func ExampleReportText() {
	results := []conformance.Result{{Rule: "ACQ-one-winner", Title: "exactly one wins", Harness: "mystore", Outcome: conformance.Pass}}
	fmt.Println(strings.Contains(conformance.ReportText(results), "1 rules: 1 pass, 0 fail"))
	text, err := conformance.ReportJSON(results)
	fmt.Println(len(text) > 0, err)
	// Output:
	// true
	// true <nil>
}
