package report

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/multilock/multilock-go/bench/internal/measure"
)

// Sections in the order of the report, with their titles.
var Sections = []struct{ Name, Title string }{
	{"handover", "Planned handover"},
	{"dead", "Handover past a dead candidate"},
	{"takeover", "Takeover after kill -9"},
	{"cycles", "Acquire and resign, cycles per second"},
	{"load", "Requests at the store while nothing happens"},
	{"scale", "Many groups in one process"},
	{"startup", "From start to lead"},
	{"calls", "Calls that ask no store"},
}

// Text is the whole report.
func Text(run *measure.Run) string {
	var b strings.Builder
	b.WriteString("# Benchmark\n\n" + Header(run))
	for _, s := range Sections {
		if t := Table(run, s.Name); t != "" {
			fmt.Fprintf(&b, "\n## %s\n\n%s", s.Title, t)
		}
	}
	b.WriteString("\n## What did not run\n\n" + Gaps(run))
	return b.String()
}

// Write writes report.md, results.json and the plots into a directory.
func Write(run *measure.Run, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := JSON(run)
	if err != nil {
		return err
	}
	plots, err := Plots(run)
	if err != nil {
		return err
	}
	plots["results.json"], plots["report.md"] = text, []byte(Text(run))
	var errs []error
	for name, data := range plots {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	return errors.Join(errs...)
}

// Update renews a document: between <!-- bench:NAME --> and <!-- /bench:NAME -->
// it puts the section of that name with a line about its run, "run" for the
// machine, or "gaps" for what did not run. Plots, and what each section measured
// as NAME.json, go to a directory beside the document that is named like it. A
// section of which nothing ran keeps what it had, also of the gaps.
func Update(run *measure.Run, document string) error {
	old, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	dir := strings.TrimSuffix(document, filepath.Ext(document))
	plots, err := Plots(run)
	if err != nil {
		return err
	}
	text := string(old)
	put := func(name, content string) error {
		if content == "" {
			return nil
		}
		text, err = between(text, name, content)
		return err
	}
	files := make(map[string][]byte)
	errs := []error{put("run", Header(run))}
	var ran []string
	for _, s := range Sections {
		content := Table(run, s.Name)
		if content == "" {
			continue
		}
		ran = append(ran, s.Name)
		content = about(run) + content
		for _, p := range plotNames(run, s.Name) {
			content += fmt.Sprintf("\n![%s](%s/%s)\n", s.Title, filepath.Base(dir), p)
		}
		part := *run
		part.Rows = run.Of(s.Name)
		part.Gaps = slices.DeleteFunc(slices.Clone(run.Gaps), func(g measure.Gap) bool { return !g.Of(s.Name) })
		data, err := JSON(&part)
		files[s.Name+".json"] = data
		errs = append(errs, err, put(s.Name, content))
	}
	text, err = gaps(text, run, ran)
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	maps.Copy(files, plots)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(document, []byte(text), 0o644)
}

// about tells which run a table is of.
func about(run *measure.Run) string {
	m := run.Machine
	return fmt.Sprintf("Measured %s, commit %s, load average before %s.\n\n",
		run.Started.UTC().Format("2006-01-02 15:04 MST"), cmp.Or(m.Commit, "unknown"), m.LoadBefore)
}

// gaps renews the list of what did not run: sections that ran have their new gaps,
// the others keep theirs with their tables.
func gaps(text string, run *measure.Run, ran []string) (string, error) {
	_, old, _, err := parts(text, "gaps")
	if err != nil {
		return text, err
	}
	// stays is the section of a gap, if that has not run.
	stays := func(g measure.Gap) (section string, ok bool) {
		i := slices.IndexFunc(Sections, func(s struct{ Name, Title string }) bool { return g.Of(s.Name) && !slices.Contains(ran, s.Name) })
		if i < 0 {
			return "", false
		}
		return Sections[i].Name, true
	}
	var merged measure.Run
	for _, g := range run.Gaps {
		if section, ok := stays(g); ok {
			if _, table, _, err := parts(text, section); err == nil && table != "" {
				continue
			}
		}
		merged.Gaps = append(merged.Gaps, g)
	}
	for line := range strings.Lines(old) {
		what, why, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "- "), ": ")
		g := measure.Gap{What: what, Why: why}
		_, kept := stays(g)
		if ok && kept && !slices.ContainsFunc(merged.Gaps, func(n measure.Gap) bool { return n.What == g.What }) {
			merged.Gaps = append(merged.Gaps, g)
		}
	}
	return between(text, "gaps", Gaps(&merged))
}

// parts is a document before, between and behind the two markers of a name.
func parts(text, name string) (head, content, tail string, err error) {
	begin, end := fmt.Sprintf("<!-- bench:%s -->\n", name), fmt.Sprintf("<!-- /bench:%s -->", name)
	before, rest, ok := strings.Cut(text, begin)
	if !ok {
		return "", "", "", fmt.Errorf("there is no line %s", strings.TrimSpace(begin))
	}
	content, after, ok := strings.Cut(rest, end)
	if !ok {
		return "", "", "", fmt.Errorf("%s has no %s", strings.TrimSpace(begin), end)
	}
	return before + begin, content, end + after, nil
}

// between replaces what is between the two markers of a name.
func between(text, name, content string) (string, error) {
	head, _, tail, err := parts(text, name)
	if err != nil {
		return "", err
	}
	return head + content + tail, nil
}
