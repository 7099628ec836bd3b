// Package measure holds what a run of the benchmark has found out, and the
// arithmetic on it.
package measure

import (
	"math"
	"slices"
	"strings"
	"time"
)

// Quantile is the value below which the share q of values lies, by nearest rank:
// always one of the values. It is NaN without values.
func Quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

// Spread says how far figures of several rounds lie apart.
type Spread struct{ Min, Median, Max float64 }

// SpreadOf is the spread of values, and false if there are none.
func SpreadOf(values []float64) (Spread, bool) {
	if len(values) == 0 {
		return Spread{}, false
	}
	return Spread{slices.Min(values), Quantile(values, 0.5), slices.Max(values)}, true
}

// Ratios compares ours with theirs, round by round: above 1 means that ours is
// better. More is better if higher is true, else less. A round that one of them
// lacks, or in which nothing was measured, is left out.
func Ratios(ours, theirs []float64, higher bool) []float64 {
	var out []float64
	for i := range min(len(ours), len(theirs)) {
		a, b := theirs[i], ours[i]
		if higher {
			a, b = b, a
		}
		if a > 0 && b > 0 {
			out = append(out, a/b)
		}
	}
	return out
}

// Millis are durations in milliseconds.
func Millis(ds []time.Duration) []float64 {
	out := make([]float64, len(ds))
	for i, d := range ds {
		out[i] = float64(d) / float64(time.Millisecond)
	}
	return out
}

// Figure is one measured number.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// Row is what one library did in one case of one section.
type Row struct {
	Section string `json:"section"`
	Store   string `json:"store"`
	Case    string `json:"case"`
	Library string `json:"library"`
	// Ours says that the library is MultiLock, with which others are compared.
	Ours bool `json:"ours,omitempty"`
	// Floor says that there is no library behind the row; see rival.Rival.
	Floor bool `json:"floor,omitempty"`
	// X is the number that the cases of a section count up, for plots: groups, or
	// followers.
	X       float64  `json:"x,omitempty"`
	Figures []Figure `json:"figures"`
	// Rounds is, for each round, the figure that libraries are compared by.
	Rounds []float64 `json:"rounds,omitempty"`
	// Higher says that of this figure more is better.
	Higher bool   `json:"higher,omitempty"`
	Note   string `json:"note,omitempty"`
}

// Figure returns the figure of that name.
func (r Row) Figure(name string) (float64, bool) {
	for _, f := range r.Figures {
		if f.Name == name {
			return f.Value, true
		}
	}
	return 0, false
}

// Against finds, among rows, what r is compared with: MultiLock in the same
// case.
func (r Row) Against(rows []Row) (Row, bool) {
	for _, o := range rows {
		if o.Ours && !r.Ours && o.Section == r.Section && o.Store == r.Store && o.Case == r.Case {
			return o, true
		}
	}
	return Row{}, false
}

// Ratio is how r compares with MultiLock, round by round; false if they cannot
// be compared.
func (r Row) Ratio(rows []Row) (Spread, bool) {
	o, ok := r.Against(rows)
	if !ok {
		return Spread{}, false
	}
	return SpreadOf(Ratios(o.Rounds, r.Rounds, r.Higher))
}

// FloorRatio is the median of how the floor of r's case compares with r, round by
// round: what MultiLock's ratio could be at most. It is false if there is none.
func (r Row) FloorRatio(rows []Row) (floor string, ratio float64, ok bool) {
	for _, o := range rows {
		if o.Floor && o.Section == r.Section && o.Store == r.Store && o.Case == r.Case {
			sp, ok := SpreadOf(Ratios(o.Rounds, r.Rounds, r.Higher))
			return o.Library, sp.Median, ok
		}
	}
	return "", 0, false
}

// Gap is something that was asked for and did not run.
type Gap struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Of reports whether a gap is one of a section.
func (g Gap) Of(section string) bool {
	first, _, _ := strings.Cut(g.What, ",")
	return first == section
}

// Machine is where a run took place.
type Machine struct {
	OS     string `json:"os"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Memory string `json:"memory,omitempty"`
	Go     string `json:"go"`
	Commit string `json:"commit,omitempty"`
	// LoadBefore and LoadAfter are the load averages around the run, which tell
	// whether the machine did something else.
	LoadBefore string `json:"loadBefore,omitempty"`
	LoadAfter  string `json:"loadAfter,omitempty"`
}

// Run is a whole run.
type Run struct {
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"tookNanoseconds"`
	Command string        `json:"command"`
	Machine Machine       `json:"machine"`
	// Servers and Libraries map names to versions.
	Servers   map[string]string `json:"servers"`
	Libraries map[string]string `json:"libraries"`
	Options   []Figure          `json:"options"`
	Rows      []Row             `json:"rows"`
	Gaps      []Gap             `json:"gaps"`
}

// Of are the rows of a section.
func (r *Run) Of(section string) []Row {
	var out []Row
	for _, row := range r.Rows {
		if row.Section == section {
			out = append(out, row)
		}
	}
	return out
}
