// Command licences checks under which licences the modules stand that ours depend
// on: each must be one of those allowed, and docs/licences.md must list it.
//
//	go run ./tools/licences          checks
//	go run ./tools/licences -write   writes the list
//
// Run it in the root of the repository.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/multilock/multilock-go/tools/internal/modules"
)

const list = "docs/licences.md"

// allowed are licences under which a program may use a library without having to
// publish its own source.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MPL-2.0"}

func main() {
	write := flag.Bool("write", false, "write "+list)
	flag.Parse()
	if err := run(*write); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(write bool) error {
	released, err := modules.Released(".")
	if err != nil {
		return err
	}
	deps := map[string]*dependency{}
	for _, system := range []string{"linux", "darwin", "windows"} { // they need different packages
		if err := collect(deps, system, released, false); err != nil {
			return err
		}
	}
	if err := collect(deps, "linux", nil, true); err != nil {
		return err
	}
	var faults []error
	for _, path := range slices.Sorted(maps.Keys(deps)) {
		if err := deps[path].identify(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", path, err))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	text := table(deps)
	if write {
		return os.WriteFile(list, text, 0o644)
	}
	old, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	if !bytes.Equal(old, text) {
		return fmt.Errorf("%s is out of date: run go run ./tools/licences -write and look at what it changes", list)
	}
	fmt.Printf("licences: %d modules, all under licences that are allowed\n", len(deps))
	return nil
}

// dependency is a module that is not ours.
type dependency struct {
	dir      string
	licences []string
	users    map[string]bool // released modules that contain it; none if only tests do
}

type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
	Module     *struct {
		Path, Dir string
		Replace   *struct{ Dir string }
	}
}

// collect adds the dependencies of released modules on one operating system, or of
// everything with its tests.
func collect(deps map[string]*dependency, system string, released []string, tests bool) error {
	args := []string{"list", "-deps", "-json=ImportPath,Imports,Standard,Module"}
	if tests {
		args = append(args, "-test", "work")
	}
	for _, path := range released {
		args = append(args, "./"+path+"/...")
	}
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list for %s: %w", system, err)
	}
	packages := map[string]pkg{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if p.Module == nil {
			continue // of the standard library
		}
		packages[p.ImportPath] = p
		if !strings.HasPrefix(p.Module.Path, modules.Prefix) && deps[p.Module.Path] == nil {
			deps[p.Module.Path] = &dependency{dir: p.Module.Dir, users: map[string]bool{}}
		}
	}
	for _, path := range released {
		seen := map[string]bool{}
		var walk func(string)
		walk = func(name string) {
			p, ok := packages[name]
			if !ok || seen[name] {
				return
			}
			seen[name] = true
			if d := deps[p.Module.Path]; d != nil {
				d.users[path] = true
			}
			for _, i := range p.Imports {
				walk(i)
			}
		}
		for name, p := range packages {
			if p.Module.Path == modules.Prefix+path {
				walk(name)
			}
		}
	}
	return nil
}

// identify reads the licences of a module.
func (d *dependency) identify() error {
	files, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := strings.ToUpper(f.Name())
		if f.IsDir() || !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(d.dir, f.Name()))
		if err != nil {
			return err
		}
		found := recognise(string(text))
		if len(found) == 0 {
			return fmt.Errorf("%s is under a licence that this check does not know", f.Name())
		}
		d.licences = append(d.licences, found...)
	}
	if len(d.licences) == 0 {
		return errors.New("it has no licence")
	}
	slices.Sort(d.licences)
	d.licences = slices.Compact(d.licences)
	for _, l := range d.licences {
		if !slices.Contains(allowed, l) {
			return fmt.Errorf("it is under %s, which is not allowed", l)
		}
	}
	return nil
}

// recognise tells the licences whose characteristic sentences are in text.
func recognise(text string) []string {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	has := func(s string) bool { return strings.Contains(text, s) }
	var found []string
	if has("permission is hereby granted, free of charge, to any person obtaining a copy of this software") {
		found = append(found, "MIT")
	}
	if has("apache license, version 2.0") || has("apache license version 2.0") {
		found = append(found, "Apache-2.0")
	}
	if has("redistribution and use in source and binary forms, with or without modification") {
		if has("to endorse or promote products") {
			found = append(found, "BSD-3-Clause")
		} else {
			found = append(found, "BSD-2-Clause")
		}
	}
	if has("permission to use, copy, modify, and/or distribute this software for any purpose") ||
		has("permission to use, copy, modify, and distribute this software for any purpose") {
		found = append(found, "ISC")
	}
	if has("mozilla public license version 2.0") || has("mozilla public license, version 2.0") {
		found = append(found, "MPL-2.0")
	}
	if has("creative commons legal code cc0 1.0 universal") {
		found = append(found, "CC0-1.0")
	}
	// the MPL and the Apache licence name the GPL too, but not in a title
	if head := text[:min(len(text), 200)]; strings.Contains(head, "general public license") {
		found = append(found, "GPL")
	}
	if has("business source license") {
		found = append(found, "BUSL")
	}
	return found
}

// table is the list as Markdown.
func table(deps map[string]*dependency) []byte {
	var b, tests strings.Builder
	b.WriteString(`# Licences of dependencies

Made by ` + "`go run ./tools/licences -write`" + `, and checked with every change: each must be one of ` + strings.Join(allowed, ", ") + `.

A program contains those of the modules it uses, and no others.

| module | licence | contained in |
| --- | --- | --- |
`)
	for _, path := range slices.Sorted(maps.Keys(deps)) {
		d := deps[path]
		if len(d.users) == 0 {
			fmt.Fprintf(&tests, "| %s | %s |\n", path, strings.Join(d.licences, ", "))
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", path, strings.Join(d.licences, ", "), strings.Join(slices.Sorted(maps.Keys(d.users)), ", "))
	}
	b.WriteString("\nOnly tests, examples and checks of this repository use these. Servers that tests start are programs of their own.\n\n| module | licence |\n| --- | --- |\n")
	b.WriteString(tests.String())
	return []byte(b.String())
}
