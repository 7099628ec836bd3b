//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/bench/internal/child"
	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/section"
)

// TestMain is also the child processes of a run.
func TestMain(m *testing.M) {
	if os.Getenv(child.Env) != "" {
		child.Main()
		return
	}
	os.Exit(m.Run())
}

// Every section on the stores that need no server, with the smallest numbers; the
// takeovers have a test of their own.
func TestAllSections(t *testing.T) {
	dir := t.TempDir()
	doc := filepath.Join(dir, "performance.md")
	var markers strings.Builder
	for _, name := range append(sectionNames(), "run", "gaps") {
		markers.WriteString("<!-- bench:" + name + " -->\n<!-- /bench:" + name + " -->\n")
	}
	if err := os.WriteFile(doc, []byte("# Before\n\n"+markers.String()+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	others := slices.DeleteFunc(sectionNames(), func(s string) bool { return s == section.Takeover })
	err := run(t.Context(), []string{
		"-quick", "-sections", strings.Join(others, ","), "-stores", "memory,file,kubernetes", "-rounds", "1", "-handovers", "4", "-candidates", "2", "-clients", "1,2",
		"-dead", "2", "-followers", "2", "-scale", "1,20", "-ttl", "3s", "-window", "1s", "-out", dir, "-write", doc,
	}, &out, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	got := results(t, dir)
	for _, want := range []struct{ section, store, library, figure string }{
		{"handover", "Memory", "MultiLock", "p50 ms"}, {"handover", "Memory", "a Go channel", "p50 ms"}, {"handover", "File", "MultiLock", "p99 ms"},
		{"handover", "Kubernetes (stand-in)", "client-go leaderelection", "p50 ms"},
		{"dead", "File", "MultiLock", "p50 ms"}, {"dead", "Kubernetes (stand-in)", "client-go leaderelection", "max ms"},
		{"cycles", "File", "MultiLock", "median /s"}, {"cycles", "Memory", "a Go channel", "median /s"},
		{"load", "Kubernetes (stand-in)", "client-go leaderelection", "requests /s"},
		{"scale", "File", "MultiLock", "all moved after s"}, {"scale", "Memory", "MultiLock", "leader: KiB per group"},
		{"startup", "Memory", "MultiLock", "p50 ms"}, {"startup", "Memory", "a Go channel", "p50 ms"}, {"calls", "", "MultiLock", "allocations"},
	} {
		found := slices.ContainsFunc(got.Rows, func(r measure.Row) bool {
			v, ok := r.Figure(want.figure)
			return ok && v >= 0 && r.Section == want.section && r.Store == want.store && r.Library == want.library
		})
		if !found {
			t.Errorf("the run has no %+v", want)
		}
	}
	for _, r := range got.Rows {
		want := map[string]float64{"handover": 4, "dead": 2}[r.Section]
		if n, ok := r.Figure("handovers"); ok && n != want {
			t.Errorf("%s, %s, %s: %v handovers instead of %v", r.Section, r.Store, r.Library, n, want)
		}
	}
	// What cannot be measured is named, and nothing else is missing.
	for _, g := range got.Gaps {
		if g.What != "dead, Memory" && g.What != "load, Memory" && g.What != "load, File" {
			t.Errorf("not measured: %s: %s", g.What, g.Why)
		}
	}
	if s := out.String(); !strings.Contains(s, "| File | 2 candidates | **MultiLock** |") || !strings.Contains(s, "load, File: there is no server") {
		t.Errorf("the report lacks rows:\n%s", s)
	}
	var again bytes.Buffer
	if err := run(t.Context(), []string{"-from", filepath.Join(dir, "results.json")}, &again, testLog{t}); err != nil || again.String() != out.String() {
		t.Errorf("the report from results.json is another: %v", err)
	}
	renewed, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(renewed); !strings.HasPrefix(s, "# Before\n") || !strings.HasSuffix(s, "\nafter\n") || !strings.Contains(s, "| File | 2 candidates | **MultiLock** |") {
		t.Errorf("the document was not renewed well:\n%s", s)
	}
	if _, err := os.Stat(filepath.Join(dir, "performance", "handover.svg")); err != nil {
		t.Error(err)
	}
}

// A process has to be killed within a quarter of the time-to-live after its start,
// half a second of which the followers take: that needs more time on a busy machine
// than the other sections do.
func TestTakeovers(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	err := run(t.Context(), []string{
		"-quick", "-sections", section.Takeover, "-stores", "memory,file,kubernetes", "-kills", "1", "-groups", "3", "-ttl", "10s", "-out", dir,
	}, &out, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	got := results(t, dir)
	var libraries []string
	for _, r := range got.Rows {
		libraries = append(libraries, r.Library)
		if v, ok := r.Figure("p50 s after the kill"); !ok || v < 0 {
			t.Errorf("%s, %s: taken over %v s after the kill", r.Store, r.Library, v)
		}
		if n, ok := r.Figure("discarded"); ok && n != 0 && n != 3 && n != 6 {
			t.Errorf("%s, %s: %v takeovers were discarded, of 3 groups", r.Store, r.Library, n)
		}
	}
	if !slices.Equal(libraries, []string{"MultiLock", "client-go leaderelection"}) {
		t.Errorf("taken over from %v", libraries)
	}
	if len(got.Gaps) != 1 || got.Gaps[0].What != "takeover, Memory" {
		t.Errorf("not measured: %+v", got.Gaps)
	}
}

// A server that is not installed is named with the way to install it; the rest
// runs, and nothing is reported about what did not.
func TestMissingServer(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	var out bytes.Buffer
	err := run(t.Context(), []string{"-quick", "-stores", "memory,redis,etcd", "-sections", "cycles", "-rounds", "1", "-clients", "1"}, &out, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	s := out.String()
	for _, want := range []string{
		"everything on Redis: the test needs redis-server, which is not installed: sudo apt-get install --yes redis-server",
		"everything on etcd: the test needs etcd, which is not installed: sudo apt-get install --yes etcd-server",
		"| Memory | 1 client | **MultiLock** |",
	} {
		if !strings.Contains(s, want) {
			t.Errorf("the report does not say %q:\n%s", want, s)
		}
	}
	for _, not := range []string{"| Redis", "rueidislock", "| etcd"} {
		if strings.Contains(s, not) {
			t.Errorf("the report has %q:\n%s", not, s)
		}
	}
	err = run(t.Context(), []string{"-stores", "redis", "-sections", "cycles"}, io.Discard, testLog{t})
	if err == nil || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("with no store at all: %v", err)
	}
}

func TestFlags(t *testing.T) {
	c, err := parse([]string{"-stores", "postgres, redis", "-sections", "scale,cycles", "-scale", "5, 50"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.stores, []string{"redis", "postgres"}) || !slices.Equal(c.sections, []string{"cycles", "scale"}) || !slices.Equal(c.Scale, []int{5, 50}) {
		t.Errorf("parsed %+v", c)
	}
	if c.Handovers < 200 || !slices.Equal(c.Candidates, []int{2, 50}) || !slices.Equal(c.Followers, []int{1, 10, 100}) {
		t.Errorf("the defaults are %+v", c.Options)
	}
	for _, bad := range [][]string{
		{"-stores", "mysql"}, {"-sections", "all"}, {"-candidates", "1"}, {"-scale", "x"}, {"-rounds", "-1"}, {"-ttl", "1ms"}, {"stray"}, {"-nonsense"},
	} {
		if _, err := parse(bad, io.Discard); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

func TestMachineIsDescribed(t *testing.T) {
	m := machine(t.Context())
	if m.CPUs < 1 || m.Go == "" || m.OS == "" || m.CPU == "" {
		t.Errorf("%+v", m)
	}
}

// A run that is interrupted before it measures anything names every case, and
// reports none.
func TestInterruptedRunReportsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	err := run(ctx, []string{
		"-stores", "memory,kubernetes", "-candidates", "2,50", "-clients", "1,16", "-followers", "1,10", "-scale", "1,100",
	}, &out, testLog{t})
	if err == nil || out.Len() > 0 {
		t.Fatalf("%v, and %d bytes of report", err, out.Len())
	}
	var want []string
	for _, l := range []string{"Memory, MultiLock", "Memory, a Go channel", "Kubernetes (stand-in), client-go leaderelection"} {
		for section, cases := range map[string][]string{
			"handover": {"2 candidates", "50 candidates"}, "cycles": {"1 client", "16 clients"}, "startup": {"new client", "connected client", "connected client, a group never led before"},
		} {
			for _, c := range cases {
				want = append(want, section+", "+l+", "+c+": interrupted")
			}
		}
	}
	for _, c := range []string{
		"handover, Memory, MultiLock, 2 candidates, one handover after another", "handover, Memory, a Go channel, 2 candidates, one handover after another",
		"dead, Kubernetes (stand-in), client-go leaderelection", "takeover, Kubernetes (stand-in), client-go leaderelection", "load, Kubernetes (stand-in), client-go leaderelection, 1 leader, 1 followers",
		"load, Kubernetes (stand-in), client-go leaderelection, 1 leader, 10 followers", "scale, Memory, 1 groups", "scale, Memory, 100 groups",
		"calls, time.Now(), IsLeader(), Term(), Status()", "calls, a change reaches all of 1000 subscribers",
	} {
		want = append(want, c+": interrupted")
	}
	want = append(want, "dead, Memory: a store inside one process dies with it", "takeover, Memory: a store inside one process dies with it", "load, Memory: there is no server to count at")
	head, list, _ := strings.Cut(err.Error(), "\n")
	got := strings.Split(strings.ReplaceAll(strings.TrimSpace(list), "- ", ""), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if head != "nothing was measured:" || !slices.Equal(got, want) {
		t.Errorf("%s\n%s\nwant\n%s", head, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// results reads what a run has written into dir.
func results(t *testing.T, dir string) (got measure.Run) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

// What was measured before an interrupt is reported, what was not is named, once,
// also where only some of the rounds were measured; and the run fails.
func TestInterruptedRunReportsWhatItHas(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := logFunc(func(line string) {
		switch {
		case strings.Contains(line, "cycles, Memory, a Go channel, 1 client: "):
			// in the middle of the first round with two clients
			time.AfterFunc(150*time.Millisecond, cancel)
		case strings.Contains(line, "2 clients: ") && !strings.Contains(line, "not measured"):
			t.Errorf("measured in spite of the interrupt: %s", line)
		}
	})
	err := run(ctx, []string{"-quick", "-stores", "memory", "-sections", "cycles,load,startup", "-rounds", "2", "-clients", "1,2", "-out", dir}, io.Discard, log)
	if !errors.Is(err, section.ErrInterrupted) {
		t.Error(err)
	}
	got := results(t, dir)
	for _, r := range got.Rows {
		if r.Section != "cycles" || r.Store != "Memory" || r.Case != "1 client" || len(r.Rounds) != 2 {
			t.Errorf("the run has %+v", r)
		}
	}
	var gaps []string
	for _, g := range got.Gaps {
		gaps = append(gaps, g.What+": "+g.Why)
	}
	want := []string{
		"cycles, Memory, MultiLock, 2 clients: interrupted", "cycles, Memory, a Go channel, 2 clients: interrupted",
		"load, Memory: there is no server to count at",
		"startup, Memory, MultiLock, new client: interrupted", "startup, Memory, a Go channel, new client: interrupted",
		"startup, Memory, MultiLock, connected client: interrupted", "startup, Memory, a Go channel, connected client: interrupted",
		"startup, Memory, MultiLock, connected client, a group never led before: interrupted", "startup, Memory, a Go channel, connected client, a group never led before: interrupted",
	}
	if len(got.Rows) != 2 || !slices.Equal(gaps, want) {
		t.Errorf("%d rows, and what did not run is\n%s\nwant\n%s", len(got.Rows), strings.Join(gaps, "\n"), strings.Join(want, "\n"))
	}
}

// An interrupt in the midst of handovers ends them.
func TestInterruptedHandover(t *testing.T) {
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := run(ctx, []string{"-stores", "memory", "-sections", "handover", "-candidates", "2"}, io.Discard, testLog{t})
		cancel()
		if err == nil || strings.Count(err.Error(), "2 candidates: interrupted") != 2 {
			t.Errorf("%v", err)
		}
	}
}

type logFunc func(string)

func (f logFunc) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Logf("%s", bytes.TrimSpace(p))
	return len(p), nil
}
