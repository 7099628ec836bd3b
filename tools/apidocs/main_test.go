package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	text := `package a

// Good is good.
type Good struct {
	// Fields are X and Y.
	X, Y int
	Z int

	inner int
}

type Bad int

// ErrGone is an error.
var ErrGone error

// Do does.
func (g *Good) Do() {}

// Handle implements Handler.
func (g *Good) Handle() {}

func (b Bad) Undocumented() {}

func (g Good) String() string { return "" }

func hidden() {}
`
	if err := os.WriteFile(filepath.Join(root, "a", "a.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := read(root, "a")
	if err != nil {
		t.Fatal(err)
	}
	faults := strings.Join(p.faults, "\n")
	for _, want := range []string{"the package has no comment", "Bad has no comment", "Undocumented has no comment"} {
		if !strings.Contains(faults, want) {
			t.Errorf("%q is missing in\n%s", want, faults)
		}
	}
	if len(p.faults) != 3 {
		t.Errorf("%d faults:\n%s", len(p.faults), faults)
	}
	if len(p.functions) != 2 || p.functions[0].key != ".Do" || p.functions[1].key != ".Undocumented" {
		t.Errorf("functions to show: %+v", p.functions)
	}
	if len(p.errors) != 1 || p.errors[0] != "ErrGone" {
		t.Errorf("errors to explain: %q", p.errors)
	}
}
