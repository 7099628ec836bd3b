package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
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
	// Discounted is what earlier attempts found that did not count, because this
	// machine or the store was too slow for the TTL; one entry for each attempt.
	Discounted []string `json:"discounted,omitempty"`
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

func resultsSoFar() []Result {
	results.Lock()
	defer results.Unlock()
	return slices.Clone(results.all)
}

// ReportText renders results as a table with a summary of each outcome.
func ReportText(all []Result) string {
	all = sorted(all)
	count := map[Outcome]int{}
	discounted := 0
	var b strings.Builder
	for _, r := range all {
		count[r.Outcome]++
		fmt.Fprintf(&b, "%-14s %-28s %-12s %7.2fs  %s\n", r.Outcome, r.Rule, r.Harness, r.Seconds, r.Title)
		discounted += len(r.Discounted)
		for _, why := range append(slices.Clone(r.Discounted), r.Why) {
			if first, _, _ := strings.Cut(why, "\n"); first != "" {
				fmt.Fprintf(&b, "%15s%s\n", "", first)
			}
		}
	}
	fmt.Fprintf(&b, "%d rules: %d pass, %d fail, %d missing a power, %d not applicable; %d attempts did not count\n",
		len(all), count[Pass], count[Fail], count[Missing], count[NotApplicable], discounted)
	return b.String()
}

// untried lists, for each harness, the rules that it has not met.
func untried(all []Result) []string {
	met := map[string]map[string]bool{}
	for _, r := range all {
		if met[r.Harness] == nil {
			met[r.Harness] = map[string]bool{}
		}
		met[r.Harness][r.Rule] = true
	}
	if len(met) == 0 {
		return []string{"no rule was run; call conformance.Run, or write entry tests with gen conformance"}
	}
	var out []string
	for _, h := range slices.Sorted(maps.Keys(met)) {
		var missing []string
		for _, id := range RuleIDs() {
			if !met[h][id] {
				missing = append(missing, id)
			}
		}
		if len(missing) > 0 {
			out = append(out, fmt.Sprintf("the harness %q was not put through %s; write the entry tests anew with gen conformance", h, strings.Join(missing, ", ")))
		}
	}
	return out
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
	all := resultsSoFar()
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
