package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNew adds a ninth backend to a repository: it must compile, pass its own
// generated tests and fail the kit with a message that says what to write.
func TestNew(t *testing.T) {
	for _, name := range []string{"aaa", "toy"} { // before and after the entry that is there
		t.Run(name, func(t *testing.T) {
			root := repository(t)
			realModules(t, root)
			if status, out := gen("-C", root, "new", name); status != 0 {
				t.Fatal(out)
			}
			if status, out := gen("-C", root, "-check"); status != 0 {
				t.Error(out)
			}
			dir := filepath.Join(root, "backends", name)
			goCmd(t, dir, "off", "vet", "./...")
			goCmd(t, dir, "off", "test", "./...")
			tests := filepath.Join(dir, "conformancetest")
			goCmd(t, tests, "off", "vet", "./...")
			failsReadably(t, tests, name)
			if status, out := gen("-C", root, "new", name); status != 1 || !strings.Contains(out, "is in the spec already") {
				t.Errorf("a second time: %d %s", status, out)
			}
		})
	}
}

// failsReadably runs one quick rule on a scaffold.
func failsReadably(t *testing.T, dir, name string) {
	t.Helper()
	out, err := goTry(dir, "off", "test", "-run", "^TestACQOneWinner$", "./...")
	want := name + " (localhost:1): Acquire is not written yet; it has to write a record of req with a greater token"
	if err == nil || !strings.Contains(out, "Promise: ") || !strings.Contains(out, want) {
		t.Errorf("%v; want the promise and %q, got\n%s", err, want, out)
	}
}

func TestNewReplacesNothing(t *testing.T) {
	root := repository(t)
	writeFile(t, root, "backends/toy/driver.go", "package toy\n")
	before := readFile(t, root, "backends.yaml")
	status, out := gen("-C", root, "new", "toy")
	if status != 1 || !strings.Contains(out, "backends/toy/driver.go exists already; a scaffold replaces nothing") {
		t.Errorf("%d %s", status, out)
	}
	if readFile(t, root, "backends.yaml") != before || exists(filepath.Join(root, "backends/toy/go.mod")) {
		t.Error("something was written nevertheless")
	}
}

// TestNewModule begins a third party's backend outside any repository and gives
// it the entry tests of the kit it requires.
func TestNewModule(t *testing.T) {
	root := t.TempDir()
	realModules(t, root)
	if status, out := gen("-C", root, "new", "-module", "example.com/x/mystore"); status != 0 {
		t.Fatal(out)
	}
	dir := filepath.Join(root, "mystore")
	const prefix = "github.com/multilock/multilock-go/"
	mod := readFile(t, dir, "go.mod")
	for _, s := range []string{"core", "conformance"} {
		mod += fmt.Sprintf("\nrequire %s%s v0.1.0\nreplace %s%s => ../%s\n", prefix, s, prefix, s, s)
	}
	writeFile(t, dir, "go.mod", mod)
	t.Setenv("GOWORK", "off")
	t.Setenv("GOPROXY", "off")
	if status, out := gen("-check", "conformance", dir); status != 1 {
		t.Errorf("entry tests are missing, but the check says %d\n%s", status, out)
	}
	if out, err := goTry(dir, "off", "test", "./..."); err == nil || !strings.Contains(out, "no rule was run; call conformance.Run, or write entry tests with gen conformance") {
		t.Errorf("without entry tests: %v\n%s", err, out)
	}
	if status, out := gen("conformance", dir); status != 0 {
		t.Fatal(out)
	}
	if status, out := gen("-check", "conformance", dir); status != 0 {
		t.Errorf("after writing: %d\n%s", status, out)
	}
	goCmd(t, dir, "off", "vet", "./...")
	failsReadably(t, dir, "mystore")

	writeFile(t, dir, "conformance_gen_test.go", "package mystore\n")
	if status, out := gen("conformance", dir); status != 1 || !strings.Contains(out, "a file that gen did not write") {
		t.Errorf("a hand-written file in the way: %d %s", status, out)
	}
	if err := os.Remove(filepath.Join(dir, "conformance_gen_test.go")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "cluster_test.go", "package mystore_test\n\nfunc newClusterHarness() {}\n")
	if status, out := gen("conformance", "-setup", "", "-setup", "Cluster", dir); status != 1 || !strings.Contains(out, "allowed: one package") {
		t.Errorf("harnesses in two packages: %d %s", status, out)
	}
}
