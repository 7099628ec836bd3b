package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// never must not be in the graph of a program that uses one backend.
var never = []string{
	"go.uber.org/fx", "github.com/dave/jennifer", "github.com/anishathalye/porcupine",
	prefix + "conformance", prefix + "conformance/porcupinecheck", prefix + "fxmodule", prefix + "gen", prefix + "testservers",
}

// backend makes a program of a backend's quick start and runs it, and compares its
// modules with those of a program over the client library and core.
func (c *checker) backend(name string) error {
	path := "backends/" + name
	quick, err := c.quickStart(name)
	if err != nil {
		return err
	}
	dir, binary, err := c.program("use-"+name, quick, c.at(path))
	if err != nil {
		return err
	}
	if err := c.lead(name, binary); err != nil {
		return err
	}
	graph, err := c.graph(dir)
	if err != nil {
		return err
	}
	clients, err := c.clients(path)
	if err != nil {
		return err
	}
	gets := append(clients, c.at("core"))
	base, err := c.baseline(name, gets)
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	var faults []error
	for _, m := range graph {
		module, _, _ := strings.Cut(m, " ")
		if !slices.Contains(base, m) && m != prefix+path+" "+c.tree.Version || slices.Contains(never, module) {
			faults = append(faults, fmt.Errorf("the graph of a consumer holds %s", m))
		}
	}
	return errors.Join(append(faults, c.pins(name, c.at(path), gets))...)
}

// clients are the modules that a backend requires directly, beside its siblings.
func (c *checker) clients(path string) ([]string, error) {
	f, err := c.tree.GoMod(path)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range f.Require {
		if !r.Indirect && !strings.HasPrefix(r.Mod.Path, prefix) {
			out = append(out, r.Mod.Path+"@"+r.Mod.Version)
		}
	}
	return out, nil
}

// baseline is the graph of a program that uses core and, directly, the packages
// outside the standard library that the backend imports.
func (c *checker) baseline(name string, gets []string) ([]string, error) {
	dir := filepath.Join(c.tree.Dir, "backends", name)
	out, err := c.Go(dir, "list", "-f", `{{join .Imports "\n"}}`, "./...")
	if err != nil {
		return nil, err
	}
	packages := strings.Fields(out)
	slices.Sort(packages)
	packages = slices.DeleteFunc(slices.Compact(packages), func(p string) bool {
		first, _, _ := strings.Cut(p, "/")
		return !strings.Contains(first, ".") || strings.HasPrefix(p, prefix+"backends/")
	})
	dir, err = c.module("base-"+name, "", map[string]string{"main.go": imports(packages)})
	if err != nil {
		return nil, err
	}
	for _, args := range [][]string{append([]string{"get"}, gets...), {"mod", "tidy"}} {
		if _, err := c.Go(dir, args...); err != nil {
			return nil, err
		}
	}
	return c.graph(dir)
}

// pinned is an old version of a module that many client libraries require for their
// own tests. A consumer that has it keeps it, unless the client library by itself
// would move it.
const pinned = "github.com/stretchr/testify"

func (c *checker) pins(name, backend string, gets []string) error {
	after := func(kind string, gets ...string) (string, error) {
		dir, err := c.module(kind+"-"+name, "\nrequire "+pinned+" v1.7.0\n", map[string]string{"main.go": "package main\n\nfunc main() {}\n"})
		if err != nil {
			return "", err
		}
		if _, err := c.Go(dir, append([]string{"get"}, gets...)...); err != nil {
			return "", err
		}
		f, err := c.goMod(dir)
		if err != nil {
			return "", err
		}
		for _, r := range f.Require {
			if r.Mod.Path == pinned {
				return r.Mod.Version, nil
			}
		}
		return "", errors.New("the pin is gone")
	}
	got, err := after("pin", backend)
	if err != nil {
		return err
	}
	want, err := after("basepin", gets...)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("a consumer's %s v1.7.0 moves to %s, and without the backend to %s", pinned, got, want)
	}
	return nil
}

func (c *checker) goMod(dir string) (*modfile.File, error) {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	return modfile.Parse("go.mod", text, nil)
}
