package conformance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/multilock/multilock-go/conformance/internal/model"
)

// try executes a rule made for the test in a bubble.
func try(t *testing.T, body func(r *run)) Result {
	var res Result
	synctest.Test(t, func(t *testing.T) {
		rule := Rule{ID: "TST-rule", Title: "a rule of the test", Promise: "none", body: body}
		res = execute(&muted{T: t}, rule, modelHarness(model.None))
	})
	return res
}

func wantFailure(t *testing.T, res Result, text string) {
	t.Helper()
	if res.Outcome != Fail || !strings.Contains(strings.Join(res.Failures, "\n"), text) {
		t.Errorf("got %s with %q, want a failure with %q", res.Outcome, res.Failures, text)
	}
}

func TestRuleThatHangs(t *testing.T) {
	res := try(t, func(r *run) { <-r.ctx.Done() })
	wantFailure(t, res, "did not end within its limit")
	if res.Seconds < 60 {
		t.Errorf("it was given up after %v s", res.Seconds)
	}
}

func TestRuleThatPanics(t *testing.T) {
	cleaned := false
	res := try(t, func(r *run) {
		r.Cleanup(func() { cleaned = true })
		panic("a bug of the driver")
	})
	wantFailure(t, res, "a bug of the driver")
	if !cleaned {
		t.Error("cleanups did not run after a panic")
	}
}

func TestFatalEndsTheRule(t *testing.T) {
	var order []string
	res := try(t, func(r *run) {
		r.Cleanup(func() { order = append(order, "first registered") })
		r.Cleanup(func() { order = append(order, "last registered") })
		r.Fatalf("over %d", 1)
		order = append(order, "went on")
	})
	wantFailure(t, res, "over 1")
	if got := strings.Join(order, ", "); got != "last registered, first registered" {
		t.Errorf("after Fatalf: %s", got)
	}
}

func TestLeakIsFoundBesideOthers(t *testing.T) {
	release, other := make(chan struct{}), make(chan struct{})
	defer close(release)
	defer close(other)
	go func() { <-other }() // not the rule's
	rule := Rule{ID: "TST-leak", Title: "t", Promise: "p", body: func(*run) { go func() { <-release }() }}
	wantFailure(t, execute(&muted{T: t}, rule, modelHarness(model.None)), "goroutines are left behind")
	clean := Rule{ID: "TST-clean", Title: "t", Promise: "p", body: func(*run) {}}
	if res := execute(&muted{T: t}, clean, modelHarness(model.None)); res.Outcome != Pass {
		t.Errorf("a rule without a leak: %s", res.Why)
	}
	ignored := func(tb TB) Harness {
		h := modelHarness(model.None)(tb)
		h.IgnoreGoroutines = []string{"TestLeakIsFoundBesideOthers"}
		return h
	}
	if res := execute(&muted{T: t}, rule, ignored); res.Outcome != Pass {
		t.Errorf("a leak that the harness ignores: %s", res.Why)
	}
}

// TestSlowMachine: a failure while something was slow does not count, unless
// slowness cannot explain it.
func TestSlowMachine(t *testing.T) {
	var ttls []time.Duration
	res := try(t, func(r *run) {
		ttls = append(ttls, r.h.TTL)
		r.took(time.Second) // the harness's TTL is 2 s
		if r.h.TTL < 8*time.Second {
			r.Errorf("too slow")
		}
	})
	if res.Outcome != Pass || len(ttls) != 3 {
		t.Errorf("got %s (%s) after TTLs of %v, want a pass at the third", res.Outcome, res.Why, ttls)
	}
	if text := ReportText([]Result{res}); len(res.Discounted) != 2 || !strings.Contains(text, "attempt 2 does not count: with a TTL of 4s something took 1s. It found: too slow") || !strings.Contains(text, "2 attempts did not count") {
		t.Errorf("the report does not tell of the attempts that did not count:\n%s", text)
	}
	for name, body := range map[string]func(r *run, n int){
		"a violation":         func(r *run, _ int) { r.took(time.Second); r.violation("two leaders") },
		"nothing was slow":    func(r *run, _ int) { r.Errorf("two leaders") },
		"slow at every trial": func(r *run, n int) { r.took(r.h.TTL); r.Errorf("two leaders") },
	} {
		n := 0
		res := try(t, func(r *run) { n++; body(r, n) })
		wantFailure(t, res, "two leaders")
		if want := map[string]int{"slow at every trial": attempts}[name]; n != max(want, 1) {
			t.Errorf("%s: %d attempts", name, n)
		}
	}
}

func TestReport(t *testing.T) {
	all := []Result{
		{Rule: "SIZ-leader", Title: "quiet", Harness: "b", Outcome: Fail, Why: "too much\nmore", Seconds: 1.5, Failures: []string{"too much\nmore"}},
		{Rule: "ACQ-held", Title: "held", Harness: "b", Outcome: Missing, Why: `power "link": there is no network`},
		{Rule: "ACQ-one-winner", Title: "one", Harness: "b", Outcome: Pass},
		{Rule: "ACQ-held", Title: "held", Harness: "a", Outcome: NotApplicable, Why: "declared"},
	}
	text := ReportText(all)
	for _, want := range []string{"4 rules: 1 pass, 1 fail, 1 missing a power, 1 not applicable", `power "link": there is no network`, "too much\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	last := -1
	for _, rule := range []string{"ACQ-held", "ACQ-one-winner", "SIZ-leader"} { // harness a comes first
		at := strings.Index(text, rule)
		if at < last || at < 0 {
			t.Errorf("the text is not in order:\n%s", text)
		}
		last = at
	}
	data, err := ReportJSON(all)
	if err != nil {
		t.Fatal(err)
	}
	var back []Result
	if err := json.Unmarshal(data, &back); err != nil || len(back) != 4 || back[0].Harness != "a" || back[1].Rule != "ACQ-one-winner" {
		t.Errorf("the JSON is %s (%v)", data, err)
	}
}

func TestReportFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report")
	t.Setenv(ReportEnv, path)
	record(Result{Rule: "ACQ-held", Harness: "test", Outcome: Pass})
	if err := writeReport(t.Logf); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path + ".json", path + ".txt"} {
		if data, err := os.ReadFile(name); err != nil || !strings.Contains(string(data), "ACQ-held") {
			t.Errorf("%s: %q, %v", filepath.Base(name), data, err)
		}
	}
	t.Setenv(ReportEnv, filepath.Join(path, "no", "directory"))
	if writeReport(t.Logf) == nil {
		t.Error("a report that cannot be written is no error")
	}
}

// TestUntried: a harness that was not put through every rule is told.
func TestUntried(t *testing.T) {
	if got := untried(nil); len(got) != 1 || !strings.Contains(got[0], "no rule was run") {
		t.Errorf("without any result: %q", got)
	}
	var all []Result
	for _, id := range RuleIDs() {
		all = append(all, Result{Rule: id, Harness: "whole", Outcome: Missing})
		if id != "ACQ-held" && id != "SIZ-leader" {
			all = append(all, Result{Rule: id, Harness: "outgrown", Outcome: Pass})
		}
	}
	want := `the harness "outgrown" was not put through ACQ-held, SIZ-leader; write the entry tests anew with gen conformance`
	if got := untried(all); len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestGoroutinesOfTimers: what the driver starts when it is called from a timer
// belongs to the rule as well.
func TestGoroutinesOfTimers(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	rule := Rule{ID: "TST-timer", Title: "t", Promise: "p", body: func(r *run) {
		c := r.client()
		c.f.watch(func(call) { go func() { <-release }() })
		called := make(chan struct{})
		time.AfterFunc(time.Millisecond, func() {
			c.leader(r.group())
			close(called)
		})
		<-called
	}}
	wantFailure(t, execute(&muted{T: t}, rule, modelHarness(model.None)), "goroutines are left behind")
}
