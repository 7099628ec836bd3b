package report

import (
	"bytes"
	"fmt"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/multilock/multilock-go/bench/internal/measure"
)

// lines are the plots of how something grows: a section, a figure and a file.
var lines = []struct{ section, figure, axis, file string }{
	{"load", "requests /s", "followers", "load.svg"},
	{"scale", "requests /s", "groups", "scale-requests.svg"},
	{"scale", "leader: KiB per group", "groups", "scale-memory.svg"},
	{"scale", "leader: CPU %", "groups", "scale-cpu.svg"},
	{"scale", "all moved after s", "groups", "scale-moved.svg"},
}

// dots are the plots that compare libraries: from one figure to another.
var dots = []struct{ section, from, to, unit, file string }{
	{"handover", "p50 ms", "p99 ms", "ms from p50 to p99; less is better", "handover.svg"},
	{"cycles", "min /s", "max /s", "cycles per second, slowest to fastest round; more is better", "cycles.svg"},
}

// Plots are SVG files by name, for the sections that ran.
func Plots(run *measure.Run) (map[string][]byte, error) {
	out := make(map[string][]byte)
	for _, l := range lines {
		if p, ok := growth(run.Of(l.section), l.figure, l.axis); ok {
			if err := render(out, l.file, p, 16*vg.Centimeter, 11*vg.Centimeter); err != nil {
				return nil, err
			}
		}
	}
	for _, d := range dots {
		if p, n := comparison(sorted(run.Of(d.section)), d.from, d.to, d.unit); n > 0 {
			if err := render(out, d.file, p, 20*vg.Centimeter, vg.Length(n)*0.55*vg.Centimeter+2.5*vg.Centimeter); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// plotNames are the plots of a section that Plots makes.
func plotNames(run *measure.Run, section string) []string {
	var out []string
	for _, l := range lines {
		if _, ok := growth(run.Of(l.section), l.figure, l.axis); ok && l.section == section {
			out = append(out, l.file)
		}
	}
	for _, d := range dots {
		if _, n := comparison(run.Of(d.section), d.from, d.to, d.unit); n > 0 && d.section == section {
			out = append(out, d.file)
		}
	}
	return out
}

func render(out map[string][]byte, name string, p *plot.Plot, w, h vg.Length) error {
	to, err := p.WriterTo(w, h, "svg")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var b bytes.Buffer
	if _, err := to.WriteTo(&b); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	out[name] = b.Bytes()
	return nil
}

var colours = []color.RGBA{
	{31, 119, 180, 255}, {214, 39, 40, 255}, {44, 160, 44, 255}, {148, 103, 189, 255}, {255, 127, 14, 255},
	{23, 190, 207, 255}, {140, 86, 75, 255}, {227, 119, 194, 255}, {127, 127, 127, 255}, {188, 189, 34, 255},
}

func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.BackgroundColor = color.White
	return p
}

// growth draws a figure over X, a line for each store and library, both axes
// logarithmic. It needs a line with two points.
func growth(rows []measure.Row, figure, axis string) (*plot.Plot, bool) {
	p := newPlot(figure)
	p.X.Label.Text, p.Y.Label.Text = axis, figure
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size = vg.Points(8)
	var names []string
	series := make(map[string]plotter.XYs)
	for _, r := range rows {
		y, ok := r.Figure(figure)
		if !ok || y <= 0 || r.X <= 0 {
			continue
		}
		name := strings.TrimSuffix(r.Store+", "+r.Library, ", MultiLock")
		if series[name] == nil {
			names = append(names, name)
		}
		series[name] = append(series[name], plotter.XY{X: r.X, Y: y})
	}
	drawn := false
	for i, name := range names {
		points := series[name]
		slices.SortFunc(points, func(a, b plotter.XY) int { return int(a.X - b.X) })
		if len(points) < 2 {
			continue
		}
		l, s, err := plotter.NewLinePoints(points)
		if err != nil {
			continue
		}
		c := colours[i%len(colours)]
		l.Color, s.Color, s.Shape = c, c, draw.CircleGlyph{}
		if i >= len(colours) {
			l.Dashes = []vg.Length{vg.Points(4), vg.Points(2)}
		}
		p.Add(l, s)
		p.Legend.Add(name, l, s)
		drawn = true
	}
	return p, drawn
}

// comparison draws a line from one figure to another for each row, MultiLock in a
// colour of its own, over a logarithmic axis. It returns the number of rows.
func comparison(rows []measure.Row, from, to, unit string) (*plot.Plot, int) {
	p := newPlot("")
	p.X.Label.Text = unit
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Tick.Label.Font.Size = vg.Points(8)
	var ticks []plot.Tick
	n := 0
	for _, r := range slices.Backward(rows) { // the first one is drawn at the top
		a, ok := r.Figure(from)
		b, ok2 := r.Figure(to)
		if !ok || !ok2 || a <= 0 || b <= 0 {
			continue
		}
		points := plotter.XYs{{X: a, Y: float64(n)}, {X: b, Y: float64(n)}}
		l, s, err := plotter.NewLinePoints(points)
		if err != nil {
			continue
		}
		c := colours[8]
		if r.Ours {
			c = colours[0]
		}
		l.Color, s.Color, s.Shape, l.Width = c, c, draw.CircleGlyph{}, vg.Points(2)
		p.Add(l, s)
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: fmt.Sprintf("%s, %s, %s", r.Store, r.Case, r.Library)})
		n++
	}
	p.Y.Tick.Marker = plot.ConstantTicks(ticks)
	p.Y.Min, p.Y.Max = -0.5, float64(n)-0.5
	return p, n
}
