// Command doccheck checks the Markdown files of the repository, so that what a
// reader follows or copies works: relative links lead to a file and a heading that
// exist, Go code compiles, and no path of somebody's machine is left. Run it in the
// root of the repository.
//
// A Go block with a package clause is compiled as it is. Any other is a fragment:
// declarations, or statements of a function with a ctx that returns an error. A
// fragment may leave out imports that doccheck knows and leave variables unused;
// a comment right before the block gives it what else it takes for granted,
//
//	<!-- doccheck: with var pool *pgxpool.Pool -->
//
// as Go declarations, or says why it is not compiled:
//
//	<!-- doccheck: skip it continues a literal -->
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	files, err := list()
	if err != nil {
		fmt.Fprintln(os.Stderr, "doccheck:", err)
		os.Exit(2)
	}
	faults, counts, err := check(".", files)
	if err != nil {
		fmt.Fprintln(os.Stderr, "doccheck:", err)
		os.Exit(2)
	}
	for _, f := range faults {
		fmt.Println(f)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
	fmt.Printf("doccheck: %d files, %d links, %d blocks of Go, %d of them skipped with a reason\n",
		counts.files, counts.links, counts.blocks, counts.skipped)
}

// list returns the Markdown files that are, or could be, committed.
func list() ([]string, error) {
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md").Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	var files []string
	for f := range strings.SplitSeq(string(out), "\x00") {
		if f == "" || strings.Contains("/"+f, "/testdata/") {
			continue
		}
		if _, err := os.Stat(f); err == nil { // not deleted meanwhile
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, errors.New("there are no Markdown files here; run it in the root of the repository")
	}
	return files, nil
}

// counted tells that the check looked at something.
type counted struct{ files, links, blocks, skipped int }

// check returns what is wrong with files, whose names are relative to root.
func check(root string, files []string) (faults []string, n counted, err error) {
	docs := make(map[string]*document)
	load := func(name string) (*document, error) {
		if d, ok := docs[name]; ok {
			return d, nil
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		docs[name] = read(name, string(text))
		return docs[name], nil
	}
	var all []block
	for _, name := range files {
		d, err := load(name)
		if err != nil {
			return nil, n, err
		}
		n.files++
		n.links += len(d.links)
		for _, l := range d.links {
			if why := l.follow(root, name, load); why != "" {
				faults = append(faults, fmt.Sprintf("%s:%d: link to %s: %s", name, l.line, l.target, why))
			}
		}
		faults = append(faults, d.private()...)
		for _, b := range d.blocks {
			n.blocks++
			if b.skip {
				n.skipped++
				if b.reason == "" {
					faults = append(faults, fmt.Sprintf("%s:%d: a skipped block needs a reason", name, b.line))
				}
				continue
			}
			all = append(all, b)
		}
	}
	wrong, err := compile(root, all)
	return append(faults, wrong...), n, err
}

// privatePath is a path that exists on one person's machine only.
var privatePath = regexp.MustCompile(`(^|[\s"'=(:` + "`" + `])(/home/|/Users/|/root/|/work/|/private/|[A-Za-z]:\\)`)

func (d *document) private() []string {
	var faults []string
	for i, line := range d.lines {
		if m := privatePath.FindString(line); m != "" {
			faults = append(faults, fmt.Sprintf("%s:%d: a path of somebody's machine: %s", d.name, i+1, strings.TrimSpace(m)))
		}
	}
	return faults
}
