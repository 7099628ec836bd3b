// Package scaffold writes the first files of a new backend. They belong to their
// author from then on: nothing here is ever written twice.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"text/template"

	"github.com/multilock/multilock-go/gen/internal/model"
)

//go:embed templates
var templates embed.FS

// File is one file to be written.
type File struct {
	Path string
	Data []byte
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9]{1,30}$`)

// data is what templates know.
type data struct {
	Name, Title, Module, Version, Go                 string
	ImportPath, ImportModule, TestPackage, Qualifier string
}

// CheckName refuses names that cannot be a package of a backend.
func CheckName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("backend name %q is not allowed; allowed: 2 to 31 lower-case letters and digits, a letter first", name)
	}
	return nil
}

// InRepository makes the hand-written half of a backend of this repository, and
// the spec with an entry for it.
func InRepository(m *model.Model, specText []byte, lines map[string]int, name string) (files []File, newSpec []byte, err error) {
	if err := CheckName(name); err != nil {
		return nil, nil, err
	}
	if _, ok := m.ByName(name); ok {
		return nil, nil, fmt.Errorf("backend %s is in the spec already", name)
	}
	d := data{
		Name: name, Title: strings.ToUpper(name[:1]) + name[1:], Module: m.Module, Version: m.Version, Go: m.Go,
		ImportPath: m.Module + "/backends/" + name, TestPackage: "conformancetest", Qualifier: name + ".",
	}
	dir := "backends/" + name
	for _, f := range []struct{ to, template string }{
		{dir + "/go.mod", "repo/go.mod.tmpl"},
		{dir + "/doc.go", "doc.go.tmpl"},
		{dir + "/driver.go", "driver.go.tmpl"},
		{dir + "/url.go", "repo/url.go.tmpl"},
		{dir + "/conformancetest/harness_test.go", "harness_test.go.tmpl"},
	} {
		text, err := execute(f.template, d)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, File{f.to, text})
	}
	entry, err := execute("repo/spec.yaml.tmpl", d)
	if err != nil {
		return nil, nil, err
	}
	return files, insert(specText, entry, name, m, lines), nil
}

// insert puts the entry where the order of names wants it. lines are those of
// the entries that are there.
func insert(specText, entry []byte, name string, m *model.Model, lines map[string]int) []byte {
	for _, b := range m.Backends {
		if b.Name < name {
			continue
		}
		all := bytes.SplitAfter(specText, []byte("\n"))
		at := lines[b.Name] - 1
		before, after := bytes.Join(all[:at], nil), bytes.Join(all[at:], nil)
		return bytes.Join([][]byte{before, entry, []byte("\n"), after}, nil)
	}
	return bytes.Join([][]byte{bytes.TrimRight(specText, "\n"), []byte("\n\n"), entry}, nil)
}

// Alone makes a backend that is a module of its own, somewhere else.
func Alone(importPath, goLine string) ([]File, error) {
	name := path.Base(importPath)
	if err := CheckName(name); err != nil {
		return nil, fmt.Errorf("the last element of the module path is the package: %w", err)
	}
	d := data{Name: name, Title: strings.ToUpper(name[:1]) + name[1:], Go: goLine, ImportModule: importPath, TestPackage: name}
	var files []File
	for _, f := range []struct{ to, template string }{
		{"go.mod", "alone/go.mod.tmpl"},
		{"doc.go", "doc.go.tmpl"},
		{"backend.go", "alone/backend.go.tmpl"},
		{"driver.go", "driver.go.tmpl"},
		{"harness_test.go", "harness_test.go.tmpl"},
	} {
		text, err := execute(f.template, d)
		if err != nil {
			return nil, err
		}
		files = append(files, File{name + "/" + f.to, text})
	}
	return files, nil
}

func execute(name string, d data) ([]byte, error) {
	text, err := templates.ReadFile("templates/" + name)
	if err != nil {
		return nil, err
	}
	t, err := template.New(name).Parse(string(text))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = t.Execute(&b, d)
	return b.Bytes(), err
}

// Write creates the files below root and refuses to replace any.
func Write(root string, files []File) error {
	var errs []error
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(root, filepath.FromSlash(f.Path))); err == nil {
			errs = append(errs, fmt.Errorf("%s exists already; a scaffold replaces nothing", f.Path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, f := range files {
		p := filepath.Join(root, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
