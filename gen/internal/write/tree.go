package write

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// CheckTree compares the directories of the repository with the model: a module
// or backend without an entry in the spec, or an entry without a module, would
// silently be left out of lists and tests.
func CheckTree(root string, m *model.Model) error {
	found, err := modules(root)
	if err != nil {
		return err
	}
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf("backends.yaml: "+format, args...)) }
	listed := map[string]bool{}
	need := func(dir, what string) {
		listed[dir] = true
		if !slices.Contains(found, dir) {
			fault("%s has no go.mod in %s; write the module, or %s", what, dir, map[bool]string{true: "give the backend the status planned", false: "take it out"}[strings.HasPrefix(dir, "backends/")])
		}
	}
	for _, mod := range m.Modules {
		need(mod.Path, "module "+mod.Path)
	}
	for _, b := range m.Backends {
		listed[b.Dir] = true
		switch {
		case b.Ready:
			need(b.Dir, "backend "+b.Name)
			if b.Tests == nil {
				fault("backend %s is ready but has no key conformance, so that the kit does not run on it; write its harness and add the key", b.Name)
			}
		case slices.Contains(found, b.Dir):
			fault("backend %s has a module but the status planned; allowed: ready", b.Name)
		}
		tests := path.Join(b.Dir, "conformancetest")
		if slices.Contains(found, tests) && b.Tests == nil && !b.Ready {
			fault("backend %s has a test module in %s but no key conformance", b.Name, tests)
		}
		listed[tests] = true
	}
	for _, dir := range found {
		if !listed[dir] {
			if name, ok := strings.CutPrefix(dir, "backends/"); ok && !strings.Contains(name, "/") {
				fault("backend %s has a directory but no entry; add one under backends, or run gen new", name)
			} else {
				fault("module %s has a directory but no entry; add one under modules", dir)
			}
		}
	}
	dirs, err := os.ReadDir(filepath.Join(root, "backends"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, d := range dirs {
		if _, ok := m.ByName(d.Name()); d.IsDir() && !ok && !slices.Contains(found, "backends/"+d.Name()) {
			fault("backend %s has a directory but no entry; add one under backends, or run gen new", d.Name())
		}
	}
	return errors.Join(errs...)
}

// modules lists the directories with a go.mod, sorted.
func modules(root string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != root && skipped(d.Name()) {
			return filepath.SkipDir
		}
		if d.Name() == "go.mod" && !d.IsDir() {
			rel, err := filepath.Rel(root, filepath.Dir(p))
			if err != nil {
				return err
			}
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// skipped are directories that hold no part of the repository's own tree.
func skipped(name string) bool {
	return strings.HasPrefix(name, ".") && name != ".github" || name == "testdata" || name == "node_modules"
}
