package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// gen runs the command and returns its exit status and output.
func gen(args ...string) (int, string) {
	var out bytes.Buffer
	status := run(args, &out, &out)
	return status, out.String()
}

// TestRepositoryIsInSync is gen -check on the repository this test stands in.
func TestRepositoryIsInSync(t *testing.T) {
	if status, out := gen("-check"); status != 0 {
		t.Errorf("exit status %d\n%s", status, out)
	}
}

// repository is a small one in a temporary directory, in sync. Of core and the
// kit it has only what gen reads; see realModules.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	copyTree(t, root, "testdata/good/plain/hand")
	for _, path := range []string{"core/go.mod", "conformance/go.mod", "conformance/rules.txt"} {
		writeFile(t, root, path, readFile(t, "..", path))
	}
	writeFile(t, root, "backends.yaml", readFile(t, ".", "testdata/good/plain/backends.yaml"))
	if status, out := gen("-C", root); status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	return root
}

func writeFile(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, root, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func replace(t *testing.T, root, path, old, with string) {
	t.Helper()
	text := readFile(t, root, path)
	if !strings.Contains(text, old) {
		t.Fatalf("%s does not contain %q", path, old)
	}
	writeFile(t, root, path, strings.Replace(text, old, with, 1))
}

// TestCheck breaks a repository that is in sync in one way at a time. Each must
// fail the check with a line that says what and where; where gen can repair it,
// a second check must be silent.
func TestCheck(t *testing.T) {
	const options = "backends/plain/options_gen.go"
	for _, c := range []struct {
		name     string
		damage   func(t *testing.T, root string)
		want     string
		repaired bool
	}{
		{"nothing", func(*testing.T, string) {}, "", true},
		{"edited by hand", func(t *testing.T, root string) { replace(t, root, options, "package plain", "package plain\n") }, options + ": edited by hand", true},
		{"out of date", func(t *testing.T, root string) {
			replace(t, root, "backends.yaml", "Size is a number", "Size is small")
		}, options + ": out of date", true},
		{"missing", func(t *testing.T, root string) {
			if err := os.Remove(filepath.Join(root, options)); err != nil {
				t.Fatal(err)
			}
		}, options + ": missing", true},
		{"stale", func(t *testing.T, root string) {
			text := readFile(t, root, options)
			writeFile(t, root, "backends/plain/old_gen.go", text)
		}, "backends/plain/old_gen.go: stale: nothing generates it any more", true},
		{"stale after a change of the spec", func(t *testing.T, root string) {
			text := readFile(t, root, "backends.yaml")
			entry := strings.NewReplacer("name: plain", "name: zeta", "plain", "zeta", "ready", "planned", "    conformance: {}\n", "").Replace(text[strings.Index(text, "  - name: plain"):])
			writeFile(t, root, "backends.yaml", text+entry)
			if status, out := gen("-C", root); status != 0 {
				t.Fatal(out)
			}
			writeFile(t, root, "backends.yaml", text)
		}, "backends/zeta/options_gen.go: stale", true},
		{"hand-written file in the way", func(t *testing.T, root string) {
			writeFile(t, root, "compose.yaml", "services: {}\n")
			dropFromManifest(t, root, "compose.yaml")
		},
			"compose.yaml: a file that gen did not write is in the place of a generated one; move or delete it", false},
		{"conflict in the manifest", func(t *testing.T, root string) {
			writeFile(t, root, "generated.sum", "<<<<<<< HEAD\n"+readFile(t, root, "generated.sum"))
		},
			"generated.sum: line 1 is no entry", true},
		{"table", func(t *testing.T, root string) {
			replace(t, root, "backends/plain/README.md", "| TTL | from 1s |", "| TTL | any |")
		},
			"backends/plain/README.md: a generated part is out of date", true},
		{"marker missing", func(t *testing.T, root string) {
			replace(t, root, "backends/plain/README.md", "<!-- /gen:options -->", "")
		},
			`backends/plain/README.md: the lines "<!-- gen:options -->" and "<!-- /gen:options -->" are missing; put them where the table of options belongs`, false},
		{"marker twice", func(t *testing.T, root string) {
			writeFile(t, root, "backends/plain/README.md", readFile(t, root, "backends/plain/README.md")+"<!-- gen:options -->\n")
		},
			`backends/plain/README.md: the marker "<!-- gen:options -->" is given twice`, false},
		{"another version in a go.mod", func(t *testing.T, root string) {
			replace(t, root, "backends/plain/go.mod", "core v0.1.0", "core v0.0.9")
		},
			"backends/plain/go.mod: a generated part is out of date", true},
		{"replace line missing", func(t *testing.T, root string) {
			replace(t, root, "backends/plain/go.mod", "replace github.com/multilock/multilock-go/core v0.1.0 => ../../core", "")
		},
			"backends/plain/go.mod: a generated part is out of date", true},
		{"module of another name", func(t *testing.T, root string) {
			replace(t, root, "backends/plain/go.mod", "backends/plain\n", "backends/plane\n")
		},
			"backends/plain/go.mod: the module must be called github.com/multilock/multilock-go/backends/plain", false},
		{"backend without an entry", func(t *testing.T, root string) { writeFile(t, root, "backends/extra/extra.go", "package extra\n") },
			"backends.yaml: backend extra has a directory but no entry; add one under backends, or run gen new", false},
		{"module without an entry", func(t *testing.T, root string) { writeFile(t, root, "tools/x/go.mod", "module x\n") },
			"backends.yaml: module tools/x has a directory but no entry; add one under modules", false},
		{"entry without a backend", func(t *testing.T, root string) {
			if err := os.RemoveAll(filepath.Join(root, "backends/plain")); err != nil {
				t.Fatal(err)
			}
		}, "backends.yaml: backend plain has no go.mod in backends/plain; write the module, or give the backend the status planned", false},
		{"entry without a module", func(t *testing.T, root string) {
			replace(t, root, "backends.yaml", "modules:\n", "modules:\n  - path: bench\n    doc: Benchmarks.\n")
		},
			"backends.yaml: module bench has no go.mod in bench; write the module, or take it out", false},
		{"planned backend with a module", func(t *testing.T, root string) { replace(t, root, "backends.yaml", "status: ready", "status: planned") },
			"backends.yaml: backend plain has a module but the status planned; allowed: ready", false},
		{"test module without a key", func(t *testing.T, root string) {
			writeFile(t, root, "backends/zeta/conformancetest/go.mod", "module x\n")
		},
			"backends.yaml: module backends/zeta/conformancetest has a directory but no entry; add one under modules", false},
		{"ready without the kit", func(t *testing.T, root string) { replace(t, root, "backends.yaml", "    conformance: {}\n", "") },
			"backends.yaml: backend plain is ready but has no key conformance, so that the kit does not run on it; write its harness and add the key", false},
		{"bad spec", func(t *testing.T, root string) { replace(t, root, "backends.yaml", "calls: 1", "cals: 1") }, "backends.yaml:19: backends[plain].capabilities: key \"calls\" is missing", false},
		{"bad list of rules", func(t *testing.T, root string) { writeFile(t, root, "conformance/rules.txt", "x\n") }, "conformance/rules.txt:1: ", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := repository(t)
			c.damage(t, root)
			before := readFile(t, root, "generated.sum")
			status, out := gen("-C", root, "-check")
			if (status == 0) != (c.want == "") || !strings.Contains("\n"+out, "\n"+c.want) {
				t.Errorf("exit status %d; want a line that begins with\n%s\ngot\n%s", status, c.want, out)
			}
			if readFile(t, root, "generated.sum") != before {
				t.Error("a check wrote something")
			}
			status, out = gen("-C", root)
			if (status == 0) != c.repaired {
				t.Errorf("gen: exit status %d\n%s", status, out)
			}
			if status, out = gen("-C", root, "-check"); (status == 0) != c.repaired {
				t.Errorf("check after gen: exit status %d\n%s", status, out)
			}
		})
	}
}

func dropFromManifest(t *testing.T, root, path string) {
	t.Helper()
	var kept []string
	for _, line := range strings.SplitAfter(readFile(t, root, "generated.sum"), "\n") {
		if !strings.HasSuffix(line, "  "+path+"\n") {
			kept = append(kept, line)
		}
	}
	writeFile(t, root, "generated.sum", strings.Join(kept, ""))
}

// TestRegenerate deletes every generated file and expects all of them back,
// byte by byte.
func TestRegenerate(t *testing.T) {
	root := repository(t)
	want := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(readFile(t, root, "generated.sum")), "\n") {
		_, path, _ := strings.Cut(line, "  ")
		want[path] = readFile(t, root, path)
		if err := os.Remove(filepath.Join(root, path)); err != nil {
			t.Fatal(err)
		}
	}
	if len(want) < 5 {
		t.Fatalf("only %d generated files", len(want))
	}
	if status, out := gen("-C", root); status != 0 {
		t.Fatal(out)
	}
	for path, text := range want {
		if readFile(t, root, path) != text {
			t.Errorf("%s is another", path)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Setenv("GOWORK", "off") // a workspace would answer for the kit
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"-h"}, 0, "gen new NAME"},
		{[]string{"brew"}, 2, "gen new NAME"},
		{[]string{"-what"}, 2, "not defined: -what"},
		{[]string{"list", "planets"}, 2, `"planets" is not allowed; allowed: backends, files, released, rules`},
		{[]string{"list"}, 0, "memory\tready\tmemory://name\n"},
		{[]string{"list", "files"}, 0, "go.work\n"},
		{[]string{"list", "released"}, 0, "core\n"},
		{[]string{"list", "rules"}, 0, "ACQ-one-winner\t"},
		{[]string{"new"}, 2, "takes the name"},
		{[]string{"new", "Bad-Name"}, 1, `backend name "Bad-Name" is not allowed; allowed: 2 to 31 lower-case letters and digits, a letter first`},
		{[]string{"new", "memory"}, 1, "backend memory is in the spec already"},
		{[]string{"new", "-module", "example.com/Bad-Name"}, 1, `"Bad-Name" is not allowed`},
		{[]string{"conformance", "testdata"}, 1, "does not require the kit; run go get -t"},
		{[]string{"conformance", "-rules", "testdata/rules.txt", "testdata"}, 1, "testdata: no test file has a function newHarness; write func newHarness(tb conformance.TB) conformance.Harness"},
		{[]string{"conformance", "-setup", "bad"}, 2, "an exported Go identifier such as Cluster"},
	} {
		if status, out := gen(c.args...); status != c.status || !strings.Contains(out, c.want) {
			t.Errorf("gen %q: exit status %d, want %d with %q\n%s", c.args, status, c.status, c.want, out)
		}
	}
	if status, out := gen("-C", t.TempDir()); status != 1 || !strings.Contains(out, "no backends.yaml in") {
		t.Errorf("outside a repository: %d %s", status, out)
	}
}
