package main

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/multilock/multilock-go/gen/internal/emit"
	"github.com/multilock/multilock-go/gen/internal/model"
	"github.com/multilock/multilock-go/gen/internal/spec"
)

func scenarios(t *testing.T) []string {
	t.Helper()
	dirs, err := filepath.Glob("testdata/good/*")
	if err != nil || len(dirs) < 2 {
		t.Fatalf("%d scenarios, %v", len(dirs), err)
	}
	return dirs
}

// modelOf resolves a spec with a list of rules that does not change with the kit.
func modelOf(t *testing.T, text []byte) *model.Model {
	t.Helper()
	s, err := spec.Parse("backends.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Resolve("backends.yaml", s)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("testdata/rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	if m.Rules, err = model.ParseRules("rules.txt", rules); err != nil {
		t.Fatal(err)
	}
	return m
}

// render runs all emitters over a scenario; files that are generated in part
// start from the hand-written ones.
func render(t *testing.T, m *model.Model, hand string) map[string]string {
	t.Helper()
	files, err := emit.Run(m)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range files {
		if f.Edit == nil {
			out[f.Path] = string(f.Data)
			continue
		}
		if f.Path == "core/go.mod" || f.Path == "conformance/go.mod" {
			continue // the real modules stand in for them
		}
		old, err := os.ReadFile(filepath.Join(hand, f.Path))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		data, err := f.Edit(old)
		if err != nil {
			t.Fatalf("%s: %v", f.Path, err)
		}
		out[f.Path] = string(data)
	}
	return out
}

func TestGoldens(t *testing.T) {
	for _, dir := range scenarios(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, "backends.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			want := filepath.Join(dir, "want")
			if *update {
				if err := os.RemoveAll(want); err != nil {
					t.Fatal(err)
				}
			}
			got := render(t, modelOf(t, text), filepath.Join(dir, "hand"))
			for path, data := range got {
				golden(t, filepath.Join(want, path), data)
			}
			err = filepath.WalkDir(want, func(p string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					rel, _ := filepath.Rel(want, p)
					if _, ok := got[filepath.ToSlash(rel)]; !ok {
						t.Errorf("%s is not made any more; run go test -update", rel)
					}
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestTextFilesAreYAML reads the compose file and the workflow back.
func TestTextFilesAreYAML(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Image       string
			Command     []string
			Environment map[string]string
			Healthcheck struct{ Test []string }
		}
	}
	readYAML(t, "testdata/good/everything/want/compose.yaml", &compose)
	alpha := compose.Services["alpha"]
	if len(compose.Services) != 1 || alpha.Command[2] != `it's "quoted"` || alpha.Environment["ALPHA"] != "a b" || len(alpha.Healthcheck.Test) != 3 {
		t.Errorf("compose file: %+v", compose)
	}
	var workflow struct {
		Jobs map[string]struct {
			Strategy struct {
				Matrix struct{ Include []map[string]string }
			}
		}
	}
	readYAML(t, "testdata/good/everything/want/.github/workflows/conformance.yml", &workflow)
	if m := workflow.Jobs["image"].Strategy.Matrix.Include; len(m) != 1 || m[0]["url"] != "alpha://user:pw@localhost:1/x?a=b&c=d" {
		t.Errorf("workflow: %+v", workflow)
	}
	if m := workflow.Jobs["native"].Strategy.Matrix.Include; len(m) != 1 || m[0]["install"] != "sudo apt-get install --yes alpha" {
		t.Errorf("workflow: %+v", workflow)
	}
	for _, name := range []string{"compose.yaml", ".github/workflows/conformance.yml"} {
		var empty map[string]any
		readYAML(t, "testdata/good/plain/want/"+name, &empty)
	}
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestDeterminism renders twice, and once more from a spec whose mappings are in
// another order, and expects the same bytes.
func TestDeterminism(t *testing.T) {
	dir := "testdata/good/everything"
	text, err := os.ReadFile(filepath.Join(dir, "backends.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	first := render(t, modelOf(t, text), filepath.Join(dir, "hand"))
	same := func(what string, text []byte) {
		t.Helper()
		for path, data := range render(t, modelOf(t, text), filepath.Join(dir, "hand")) {
			if data != first[path] {
				t.Errorf("%s: %s differs", what, path)
			}
		}
	}
	for range 5 {
		same("again", text)
		var n yaml.Node
		if err := yaml.Unmarshal(text, &n); err != nil {
			t.Fatal(err)
		}
		shuffle(&n)
		shuffled, err := yaml.Marshal(&n)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(shuffled, text) {
			t.Fatal("nothing was shuffled")
		}
		same("shuffled", shuffled)
	}
}

// shuffle changes the order of the keys of every mapping.
func shuffle(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		rand.Shuffle(len(n.Content)/2, func(i, j int) {
			n.Content[2*i], n.Content[2*j] = n.Content[2*j], n.Content[2*i]
			n.Content[2*i+1], n.Content[2*j+1] = n.Content[2*j+1], n.Content[2*i+1]
		})
	}
	for _, c := range n.Content {
		shuffle(c)
	}
}

// TestGoldensCompile puts the goldens, their hand-written halves and the real
// core and kit together, vets everything with and without the workspace, and
// runs the generated tests.
func TestGoldensCompile(t *testing.T) {
	if testing.Short() {
		t.Skip("builds several modules")
	}
	for _, dir := range scenarios(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			root := t.TempDir()
			copyTree(t, root, filepath.Join(dir, "hand"))
			copyTree(t, root, filepath.Join(dir, "want"))
			realModules(t, root)
			goCmd(t, root, "", "vet", "work")
			mods, err := filepath.Glob(filepath.Join(root, "backends/*/go.mod"))
			if err != nil || len(mods) != 1 {
				t.Fatalf("modules %v, %v", mods, err)
			}
			backend := filepath.Dir(mods[0])
			goCmd(t, backend, "off", "test", "./...")
			for _, more := range []string{"conformancetest", "../../outside", "../../tools/helper"} {
				if _, err := os.Stat(filepath.Join(backend, more)); err == nil {
					goCmd(t, filepath.Join(backend, more), "off", "vet", "./...")
				}
			}
			// A command has no replace lines; the workspace answers for it.
			if cmd := filepath.Join(root, "cmd/any"); exists(cmd) {
				if out := goCmd(t, cmd, "", "run", "."); !strings.Contains(out, "alpha://host:1/path true") {
					t.Errorf("the table of backends is wrong: %s", out)
				}
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// realModules copies core and the kit of this repository.
func realModules(t *testing.T, root string) {
	t.Helper()
	for _, name := range []string{"core", "conformance"} {
		copyTree(t, filepath.Join(root, name), filepath.Join("..", name))
	}
}

// copyTree copies a directory without the modules nested in it.
func copyTree(t *testing.T, to, from string) {
	t.Helper()
	if !exists(from) {
		t.Fatalf("%s is missing", from)
	}
	real := filepath.Base(filepath.Dir(from)) == ".."
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if real && rel != "." && exists(filepath.Join(p, "go.mod")) {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goCmd runs the go command without any network.
func goCmd(t *testing.T, dir, work string, args ...string) string {
	t.Helper()
	out, err := goTry(dir, work, args...)
	if err != nil {
		t.Fatalf("GOWORK=%s go %s in %s: %v\n%s", work, strings.Join(args, " "), dir, err, out)
	}
	return out
}

func goTry(dir, work string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK="+work, "GOPROXY=off", "GOFLAGS=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
