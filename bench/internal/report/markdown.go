// Package report writes what a run has found out: tables in Markdown, JSON, and
// plots.
package report

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/multilock/multilock-go/bench/internal/measure"
)

// Table is the Markdown of a section: its table, what was set, and why we are
// behind where we are. It is empty if nothing of the section ran.
func Table(run *measure.Run, section string) string {
	rows := run.Of(section)
	if len(rows) == 0 {
		return ""
	}
	names := figureNames(rows)
	stores, ratios := false, false
	for _, r := range rows {
		stores = stores || r.Store != ""
		_, ok := r.Ratio(run.Rows)
		ratios = ratios || ok
	}
	head := []string{"case", "library"}
	if stores {
		head = append([]string{"store"}, head...)
	}
	head = append(head, names...)
	if ratios {
		head = append(head, "MultiLock is better by: min / median / max of rounds")
	}
	var b strings.Builder
	line(&b, head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---:"
	}
	for i := range len(head) - len(names) {
		rule[i] = "---"
	}
	if ratios {
		rule[len(head)-len(names)-1], rule[len(head)-1] = "---:", "---"
	}
	line(&b, rule)
	for _, r := range sorted(rows) {
		cells := []string{r.Case, library(r)}
		if stores {
			cells = append([]string{r.Store}, cells...)
		}
		for _, n := range names {
			cells = append(cells, number(r.Figure(n)))
		}
		if ratios {
			cells = append(cells, ratio(r, run.Rows))
		}
		line(&b, cells)
	}
	b.WriteString(notes(rows))
	b.WriteString(behind(run, rows))
	return b.String()
}

func line(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

func library(r measure.Row) string {
	if r.Ours {
		return "**" + r.Library + "**"
	}
	return r.Library
}

func ratio(r measure.Row, rows []measure.Row) string {
	sp, ok := r.Ratio(rows)
	if !ok {
		return ""
	}
	if len(r.Rounds) == 1 {
		return Number(sp.Median)
	}
	return fmt.Sprintf("%s / **%s** / %s", Number(sp.Min), Number(sp.Median), Number(sp.Max))
}

// sorted keeps the rows of one store and case together, MultiLock first, in the
// order in which stores and cases came first.
func sorted(rows []measure.Row) []measure.Row {
	rank := make(map[string]int)
	for _, r := range rows {
		for _, k := range []string{r.Store, r.Store + "\x00" + r.Case} {
			if _, ok := rank[k]; !ok {
				rank[k] = len(rank)
			}
		}
	}
	out := slices.Clone(rows)
	slices.SortStableFunc(out, func(a, b measure.Row) int {
		if d := rank[a.Store] - rank[b.Store]; d != 0 {
			return d
		}
		if d := a.X - b.X; d != 0 {
			return int(math.Copysign(1, d))
		}
		if d := rank[a.Store+"\x00"+a.Case] - rank[b.Store+"\x00"+b.Case]; d != 0 {
			return d
		}
		switch {
		case a.Ours && !b.Ours:
			return -1
		case b.Ours && !a.Ours:
			return 1
		}
		return 0
	})
	return out
}

// figureNames are the columns: every name that a row has, in order.
func figureNames(rows []measure.Row) []string {
	var out []string
	for _, r := range rows {
		at := 0
		for _, f := range r.Figures {
			if i := slices.Index(out, f.Name); i >= 0 {
				at = i + 1
				continue
			}
			out = slices.Insert(out, at, f.Name)
			at++
		}
	}
	return out
}

func number(v float64, ok bool) string {
	if !ok {
		return ""
	}
	return Number(v)
}

// Number prints v with three significant digits, and all digits before the point.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return ""
	case v == math.Trunc(v) && a < 1e9, a >= 100:
		return strconv.FormatFloat(math.Round(v), 'f', -1, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
}

// notes say, once for each library, what was set.
func notes(rows []measure.Row) string {
	var b strings.Builder
	seen := make(map[string]bool)
	for _, r := range rows {
		if r.Note == "" || seen[r.Library] {
			continue
		}
		if len(seen) == 0 {
			b.WriteString("\nNot as by default:\n\n")
		}
		seen[r.Library] = true
		fmt.Fprintf(&b, "- %s: %s.\n", r.Library, r.Note)
	}
	return b.String()
}

// behindBelow is the ratio below which we count as behind: what is less is within
// the noise of any machine.
const behindBelow = 0.98

// behind lists where another library was better, with the reason: one entry for
// each store and reason, which names all cases that it explains. What the floor
// comes to tells how much of it the requests to the store are.
func behind(run *measure.Run, rows []measure.Row) string {
	type entry struct{ store, reason, cases, last string }
	var entries []*entry
	for _, r := range sorted(rows) {
		sp, ok := r.Ratio(run.Rows)
		if !ok || r.Floor || sp.Median >= behindBelow {
			continue
		}
		why := reason(r)
		i := slices.IndexFunc(entries, func(e *entry) bool { return e.store == r.Store && e.reason == why })
		if i < 0 {
			i = len(entries)
			entries = append(entries, &entry{store: r.Store, reason: why})
		}
		e, one := entries[i], fmt.Sprintf("%s %s", r.Library, Number(sp.Median))
		if floor, most, ok := r.FloorRatio(run.Rows); ok {
			one += fmt.Sprintf(" (%s %s)", floor, Number(most))
		}
		switch {
		case e.cases == "":
			e.cases = r.Case + ": " + one
		case e.last == r.Case:
			e.cases += ", " + one
		default:
			e.cases += "; " + r.Case + ": " + one
		}
		e.last = r.Case
	}
	if len(entries) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nWhere MultiLock is behind:\n\n")
	for _, e := range entries {
		fmt.Fprintf(&b, "- %s (%s): %s\n", e.store, e.cases, e.reason)
	}
	return b.String()
}

// Header tells where, when and with what a run took place.
func Header(run *measure.Run) string {
	var b strings.Builder
	m := run.Machine
	fmt.Fprintf(&b, "| | |\n| --- | --- |\n")
	line(&b, []string{"when", fmt.Sprintf("%s, %s long", run.Started.UTC().Format("2006-01-02 15:04 MST"), run.Took.Round(1e9))})
	line(&b, []string{"command", "`" + run.Command + "`"})
	line(&b, []string{"machine", fmt.Sprintf("%d CPUs, %s; %s; %s", m.CPUs, m.CPU, m.Memory, m.OS)})
	line(&b, []string{"load average", fmt.Sprintf("%s before, %s after (1, 5, 15 min)", m.LoadBefore, m.LoadAfter)})
	line(&b, []string{"Go", m.Go})
	if m.Commit != "" {
		line(&b, []string{"commit", m.Commit})
	}
	line(&b, []string{"servers", pairs(run.Servers)})
	line(&b, []string{"libraries", pairs(run.Libraries)})
	var options []string
	for _, o := range run.Options {
		options = append(options, fmt.Sprintf("%s %s", o.Name, Number(o.Value)))
	}
	line(&b, []string{"options", strings.Join(options, ", ")})
	return b.String()
}

// Gaps lists what was asked for and did not run.
func Gaps(run *measure.Run) string {
	if len(run.Gaps) == 0 {
		return "Everything that was asked for ran.\n"
	}
	var b strings.Builder
	for _, g := range run.Gaps {
		fmt.Fprintf(&b, "- %s: %s\n", g.What, strings.Join(strings.Fields(g.Why), " "))
	}
	return b.String()
}

func pairs(m map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, k+" "+m[k])
	}
	return strings.Join(out, "; ")
}

// JSON is the whole run.
func JSON(run *measure.Run) ([]byte, error) {
	b, err := json.MarshalIndent(run, "", "\t")
	return append(b, '\n'), err
}
