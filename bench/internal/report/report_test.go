package report

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
)

func sample() *measure.Run {
	figures := func(p50, p99 float64) []measure.Figure {
		return []measure.Figure{{Name: "p50 ms", Value: p50}, {Name: "p99 ms", Value: p99}}
	}
	return &measure.Run{
		Started: time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC), Took: 90 * time.Second, Command: "go run ./bench",
		Machine: measure.Machine{OS: "linux/amd64", CPU: "some", CPUs: 2, Go: "go1.26.0", LoadBefore: "0 0 0", LoadAfter: "1 1 1"},
		Servers: map[string]string{"Redis": "7.0"}, Libraries: map[string]string{"redislock": "v1"},
		Rows: []measure.Row{
			{Section: "handover", Store: "Redis", Case: "2 candidates", Library: "MultiLock", Ours: true, Figures: figures(1, 2), Rounds: []float64{1, 1, 1}},
			{Section: "handover", Store: "Redis", Case: "2 candidates", Library: "redislock", Figures: figures(50, 100), Rounds: []float64{40, 50, 60}, Note: "polls"},
			{Section: "handover", Store: "Redis", Case: "2 candidates", Library: "faster", Figures: figures(0.5, 1), Rounds: []float64{0.5, 0.5, 0.25}},
			{Section: "handover", Store: "Redis", Case: "2 candidates", Library: "less", Floor: true, Figures: figures(0.8, 1), Rounds: []float64{0.8, 0.8, 0.8}, Note: "no library"},
			{Section: "load", Store: "Redis", Case: "1 leader, 1 followers", Library: "MultiLock", Ours: true, X: 1, Figures: []measure.Figure{{Name: "requests /s", Value: 0.3}}, Rounds: []float64{0.3}},
			{Section: "load", Store: "Redis", Case: "1 leader, 10 followers", Library: "MultiLock", Ours: true, X: 10, Figures: []measure.Figure{{Name: "requests /s", Value: 0.9}}, Rounds: []float64{0.9}},
		},
		Gaps: []measure.Gap{{What: "everything on etcd", Why: "not installed:\n apt-get install etcd-server"}},
	}
}

func TestTable(t *testing.T) {
	got := Table(sample(), "handover")
	for _, want := range []string{
		"| store | case | library | p50 ms | p99 ms | MultiLock is better by: min / median / max of rounds |\n",
		"| Redis | 2 candidates | **MultiLock** | 1 | 2 |  |\n",
		"| Redis | 2 candidates | redislock | 50 | 100 | 40 / **50** / 60 |\n",
		"| Redis | 2 candidates | faster | 0.5 | 1 | 0.25 / **0.5** / 0.5 |\n",
		"| Redis | 2 candidates | less | 0.8 | 1 | 0.8 / **0.8** / 0.8 |\n",
		"- redislock: polls.\n- less: no library.\n",
		"Where MultiLock is behind:\n\n- Redis (2 candidates: faster 0.5 (less 0.625)): not explained yet.\n", // it is made up
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table lacks %q:\n%s", want, got)
		}
	}
	if strings.Count(got, "behind") != 1 || strings.Contains(got, "redislock 50") {
		t.Errorf("one that is slower counts as ahead:\n%s", got)
	}
	if Table(sample(), "cycles") != "" {
		t.Error("a section that did not run has a table")
	}
}

// A reason is told once for each store, with all cases that it explains.
func TestReasonsAreToldOnce(t *testing.T) {
	run := &measure.Run{}
	for _, c := range []string{"1 client", "16 clients"} {
		for _, store := range []string{"Consul", "elsewhere"} {
			for library, rounds := range map[string][]float64{"MultiLock": {1}, "one": {4}, "two": {2}, "slow": {0.5}} {
				run.Rows = append(run.Rows, measure.Row{Section: "load", Store: store, Case: c, Library: library, Ours: library == "MultiLock", Rounds: rounds, Higher: true})
			}
		}
	}
	slices.SortStableFunc(run.Rows, func(a, b measure.Row) int { return strings.Compare(a.Case+a.Library, b.Case+b.Library) })
	_, got, _ := strings.Cut(Table(run, "load"), "Where MultiLock is behind:\n\n")
	const cases = "(1 client: one 0.25, two 0.5; 16 clients: one 0.25, two 0.5): "
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "- Consul "+cases+"a heartbeat") || lines[1] != "- elsewhere "+cases+"not explained yet." {
		t.Errorf("the list is\n%s", got)
	}
}

func TestHandoverPastTheDeadIsAHandover(t *testing.T) {
	r := measure.Row{Section: "handover", Store: "Consul"}
	planned := reason(r)
	r.Section = "dead"
	if got := reason(r); !strings.HasPrefix(got, planned+" ") || !strings.Contains(got, "first time") {
		t.Errorf("%q, and a planned one %q", got, planned)
	}
}

func TestGapsAreNamed(t *testing.T) {
	if got := Gaps(sample()); got != "- everything on etcd: not installed: apt-get install etcd-server\n" {
		t.Errorf("%q", got)
	}
	if got := Gaps(&measure.Run{}); !strings.Contains(got, "Everything") {
		t.Errorf("%q", got)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1", 1234567: "1234567", 0.12345: "0.123", 1.2345: "1.23", 12.345: "12.3", 123.45: "123", -0.5: "-0.5", math.NaN(): "",
	} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) is %q, want %q", v, got, want)
		}
	}
}

func TestPlots(t *testing.T) {
	plots, err := Plots(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"handover.svg", "load.svg"} {
		if !strings.Contains(string(plots[name]), "<svg") {
			t.Errorf("%s is no plot", name)
		}
	}
	if len(plots) != 2 {
		t.Errorf("%d plots, want those of the two sections that ran", len(plots))
	}
}

func TestUpdate(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "p.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	markers := "<!-- bench:run -->\n<!-- /bench:run -->\n<!-- bench:gaps -->\n- load, Redis: of another day\n- cycles, etcd: why\n- everything on X: old\n<!-- /bench:gaps -->\n<!-- bench:handover -->\nold\n<!-- /bench:handover -->\n" +
		"<!-- bench:load -->\n<!-- /bench:load -->\n<!-- bench:cycles -->\nkept\n<!-- /bench:cycles -->\n"
	write("a\n" + markers + "z\n")
	run := sample()
	run.Gaps = append(run.Gaps, measure.Gap{What: "cycles, Redis", Why: "interrupted"}) // its table is of another run
	for range 2 {                                                                       // the second time changes nothing
		if err := Update(run, doc); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "a\n") || !strings.HasSuffix(text, "z\n") || strings.Contains(text, "old") || !strings.Contains(text, "kept") ||
		strings.Contains(text, "another day") || strings.Contains(text, "interrupted") || !strings.Contains(text, "- cycles, etcd: why\n") || strings.Count(text, "- everything on etcd: not installed") != 1 ||
		strings.Count(text, "Measured 2026-11-27 12:00 UTC, commit unknown, load average before 0 0 0.\n\n| store |") != 2 ||
		strings.Count(text, "| redislock |") != 1 || !strings.Contains(text, "(p/handover.svg)") {
		t.Errorf("the document is now\n%s", text)
	}
	for section, rows := range map[string]int{"handover": 4, "load": 2} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(doc), "p", section+".json"))
		var run measure.Run
		if err == nil {
			err = json.Unmarshal(b, &run)
		}
		if err != nil || len(run.Rows) != rows {
			t.Errorf("%s.json: %d rows, want %d; %v", section, len(run.Rows), rows, err)
		}
	}
	write("no markers")
	if err := Update(sample(), doc); err == nil || !strings.Contains(err.Error(), "bench:handover") {
		t.Errorf("a document without markers: %v", err)
	}
	if b, _ := os.ReadFile(doc); string(b) != "no markers" {
		t.Error("a document that could not be renewed was changed")
	}
}
