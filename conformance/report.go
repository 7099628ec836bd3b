package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// Outcome is what came of a rule.
type Outcome string

// The outcomes.
const (
	Pass          Outcome = "pass"
	Fail          Outcome = "fail"
	Missing       Outcome = "missing"        // the harness declares that it lacks a power
	NotApplicable Outcome = "not applicable" // the backend declares that it does not do this
)

// Result is the outcome of one rule on one harness.
type Result struct {
	Rule     string   `json:"rule"`
	Title    string   `json:"title"`
	Harness  string   `json:"harness"`
	Outcome  Outcome  `json:"outcome"`
	Why      string   `json:"why,omitempty"`
	Seconds  float64  `json:"seconds"`
	Failures []string `json:"failures,omitempty"`
}

// ReportEnv names the environment variable with the path of the report.
const ReportEnv = "MULTILOCK_CONFORMANCE_REPORT"

// results collects what RunRule found in this test process.
var results struct {
	sync.Mutex
	all []Result
}

func record(res Result) {
	results.Lock()
	defer results.Unlock()
	results.all = append(results.all, res)
}

// ReportText renders results as a table with a summary of each outcome.
func ReportText(all []Result) string {
	all = sorted(all)
	count := map[Outcome]int{}
	var b strings.Builder
	for _, r := range all {
		count[r.Outcome]++
		fmt.Fprintf(&b, "%-14s %-28s %-12s %7.2fs  %s\n", r.Outcome, r.Rule, r.Harness, r.Seconds, r.Title)
		if r.Why != "" {
			first, _, _ := strings.Cut(r.Why, "\n")
			fmt.Fprintf(&b, "%15s%s\n", "", first)
		}
	}
	fmt.Fprintf(&b, "%d rules: %d pass, %d fail, %d missing a power, %d not applicable\n",
		len(all), count[Pass], count[Fail], count[Missing], count[NotApplicable])
	return b.String()
}

// ReportJSON renders results as an array of [Result].
func ReportJSON(all []Result) ([]byte, error) { return json.MarshalIndent(sorted(all), "", "  ") }

func sorted(all []Result) []Result {
	order := map[string]int{}
	for i, id := range RuleIDs() {
		order[id] = i
	}
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b Result) int {
		if c := strings.Compare(a.Harness, b.Harness); c != 0 {
			return c
		}
		return order[a.Rule] - order[b.Rule]
	})
	return all
}

// writeReport prints the report and writes the files that ReportEnv asks for.
func writeReport(logf func(format string, args ...any)) error {
	results.Lock()
	all := slices.Clone(results.all)
	results.Unlock()
	if len(all) == 0 {
		return nil
	}
	text := ReportText(all)
	logf("%s", text)
	path := os.Getenv(ReportEnv)
	if path == "" {
		return nil
	}
	data, err := ReportJSON(all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".json", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(path+".txt", []byte(text), 0o644)
}
