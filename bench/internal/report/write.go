package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/multilock/multilock-go/bench/internal/measure"
)

// Sections in the order of the report, with their titles.
var Sections = []struct{ Name, Title string }{
	{"handover", "Planned handover"},
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
// it puts the section of that name, "run" for the machine, or "gaps" for what did
// not run. Plots and results.json go to a directory beside the document that is
// named like it. A section that did not run keeps what it had.
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
	errs := []error{put("run", Header(run)), put("gaps", Gaps(run))}
	for _, s := range Sections {
		content := Table(run, s.Name)
		for _, p := range plotNames(run, s.Name) {
			content += fmt.Sprintf("\n![%s](%s/%s)\n", s.Title, filepath.Base(dir), p)
		}
		errs = append(errs, put(s.Name, content))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	json, err := JSON(run)
	if err != nil {
		return err
	}
	plots["results.json"] = json
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range plots {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(document, []byte(text), 0o644)
}

// between replaces what is between the two markers of a name.
func between(text, name, content string) (string, error) {
	begin, end := fmt.Sprintf("<!-- bench:%s -->\n", name), fmt.Sprintf("<!-- /bench:%s -->", name)
	head, rest, ok := strings.Cut(text, begin)
	if !ok {
		return "", fmt.Errorf("there is no line %s", strings.TrimSpace(begin))
	}
	_, tail, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("%s has no %s", strings.TrimSpace(begin), end)
	}
	return head + begin + content + end + tail, nil
}
