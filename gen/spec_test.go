package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/multilock/multilock-go/gen/internal/model"
	"github.com/multilock/multilock-go/gen/internal/spec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestBadSpecs compares every fault of every bad spec with its golden: one line
// with file, line, what is wrong and what is allowed.
func TestBadSpecs(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d bad specs, %v", len(files), err)
	}
	oneLine := regexp.MustCompile(`^backends\.yaml:[1-9]\d*: \S.{10,}$`)
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := faultsOf(data)
			if got == "" {
				t.Fatal("a bad spec is accepted")
			}
			for _, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
				if !oneLine.MatchString(line) {
					t.Errorf("not one line with its place: %q", line)
				}
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".want", got)
		})
	}
}

func faultsOf(data []byte) string {
	s, err := spec.Parse("backends.yaml", data)
	if err == nil {
		_, err = model.Resolve("backends.yaml", s)
	}
	if err == nil {
		return ""
	}
	return err.Error() + "\n"
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run go test -update if that is right\ngot:\n%s\nwant:\n%s", name, got, want)
	}
}

func TestRulesFile(t *testing.T) {
	_, err := model.ParseRules("rules.txt", []byte("ACQ-one\tACQOne\tparallel\tone wins\nbad line\nACQ-two\tACQOne\tparallel\ttwo win\n"))
	want := "rules.txt:2: \"bad line\" is not a rule; allowed: ID, Go name, flags and title, separated by tabs\n" +
		"rules.txt:3: rule ACQ-two has the Go name of line 1"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// FuzzSpec feeds the reader anything: it must not panic, and its faults must
// have a place.
func FuzzSpec(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*/backends.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := faultsOf(data); got != "" && !strings.HasPrefix(got, "backends.yaml:") {
			t.Errorf("a fault without a place: %q", got)
		}
	})
}

// FuzzRules does the same to the list of rules.
func FuzzRules(f *testing.F) {
	data, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := model.ParseRules("rules.txt", data)
		for _, r := range rules {
			if err == nil && (r.ID == "" || r.GoName == "") {
				t.Errorf("a rule without a name: %+v", r)
			}
		}
	})
}
