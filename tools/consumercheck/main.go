// Command consumercheck looks at the released modules as their users will: it
// packs them from the committed tree, serves them from a file proxy, and in empty
// modules gets, builds and tidies each backend. What a consumer's module graph
// holds beyond that of the backend's client library and core must be the backend
// alone. It also installs the commands, builds the README's quick starts, and runs
// its commands for a store of one's own.
//
// Run it in the root of the repository. It needs the module proxy for the client
// libraries, or a module cache that has them.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

const prefix = "github.com/multilock/multilock-go/"

// never must not be in the graph of a program that uses one backend, unless its
// client library brings it.
var never = []string{"go.uber.org/fx", "github.com/dave/jennifer", "github.com/anishathalye/porcupine", prefix + "conformance", prefix + "gen", prefix + "testservers"}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "consumercheck:", err)
		os.Exit(1)
	}
}

// checker is one check: a proxy with the packed modules, and a fresh cache.
type checker struct {
	root, dir, version string
	env                []string
}

func run() error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	version, err := specVersion(root)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "multilock-consumer-")
	if err != nil {
		return err
	}
	c := &checker{root: root, dir: dir, version: version}
	defer c.clean()
	released, err := c.released()
	if err != nil {
		return err
	}
	for _, path := range released {
		if err := c.pack(path); err != nil {
			return fmt.Errorf("packing %s: %w", path, err)
		}
	}
	fmt.Printf("packed %d modules at %s\n", len(released), version)
	if err := c.environment(); err != nil {
		return err
	}
	var faults []error
	for _, path := range released {
		if name, ok := strings.CutPrefix(path, "backends/"); ok {
			begin := time.Now()
			if err := c.backend(name); err != nil {
				faults = append(faults, fmt.Errorf("%s: %w", path, err))
				continue
			}
			fmt.Printf("%-20s its client library, core, and nothing else (%v)\n", path, time.Since(begin).Round(100*time.Millisecond))
		}
	}
	for _, path := range []string{"cmd/multilock", "gen"} {
		if !slices.Contains(released, path) {
			continue
		}
		if err := c.install(path); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", path, err))
			continue
		}
		fmt.Printf("%-20s go install works\n", path)
	}
	if err := c.quickStart(); err != nil {
		faults = append(faults, fmt.Errorf("README quick start: %w", err))
	} else {
		fmt.Printf("%-20s builds as it stands there\n", "README quick start")
	}
	if err := c.ownStore(); err != nil {
		faults = append(faults, fmt.Errorf("README, over a store of your own: %w", err))
	} else {
		fmt.Printf("%-20s begins as the README says, and the kit says what is missing\n", "own store")
	}
	return errors.Join(faults...)
}

// clean removes everything; the module cache is write-protected.
func (c *checker) clean() {
	_ = filepath.WalkDir(c.dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(c.dir)
}

var versionLine = regexp.MustCompile(`(?m)^version: (v[0-9][^\s]*)$`)

func specVersion(root string) (string, error) {
	spec, err := os.ReadFile(filepath.Join(root, "backends.yaml"))
	if err != nil {
		return "", err
	}
	m := versionLine.FindSubmatch(spec)
	if m == nil {
		return "", errors.New("backends.yaml has no line \"version: v...\"")
	}
	return string(m[1]), nil
}

// released lists the directories of the modules that are tagged.
func (c *checker) released() ([]string, error) {
	cmd := exec.Command("go", "run", ".", "list", "released")
	cmd.Dir = filepath.Join(c.root, "gen")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(out)), nil
}

// pack puts a module of the committed tree into the proxy.
func (c *checker) pack(path string) error {
	m := module.Version{Path: prefix + path, Version: c.version}
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.dir, "proxy", filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var b bytes.Buffer
	if err := zip.CreateFromVCS(&b, m, c.root, "HEAD", path); err != nil {
		return err
	}
	mod, err := exec.Command("git", "show", "HEAD:"+path+"/go.mod").Output()
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": c.version, "Time": time.Unix(0, 0).UTC()})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		c.version + ".zip": b.Bytes(), c.version + ".mod": mod, c.version + ".info": info, "list": []byte(c.version + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// environment is that of somebody else's machine, but for a second proxy with what
// this one has downloaded already.
func (c *checker) environment() error {
	out, err := exec.Command("go", "env", "GOPROXY", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	proxy := "file://" + filepath.ToSlash(filepath.Join(c.dir, "proxy")) +
		",file://" + filepath.ToSlash(filepath.Join(lines[1], "cache", "download")) + "," + lines[0]
	c.env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod -modcacherw", "GOPROXY="+proxy,
		"GOMODCACHE="+filepath.Join(c.dir, "cache"), "GONOSUMDB="+strings.TrimSuffix(prefix, "/")+","+os.Getenv("GONOSUMDB"), "GOBIN="+filepath.Join(c.dir, "bin"))
	return nil
}

func (c *checker) gotool(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, c.env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out), nil
}

// consumer makes an empty module with a program, and tidies it.
func (c *checker) consumer(name, program string, gets ...string) (dir string, graph []string, err error) {
	dir = filepath.Join(c.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	// a go line of its own, as old as the released ones allow
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/"+name+"\n\ngo 1.26.0\n"), 0o644); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644); err != nil {
		return "", nil, err
	}
	for _, args := range [][]string{append([]string{"get"}, gets...), {"build", "-o", os.DevNull, "."}, {"mod", "tidy"}, {"build", "-o", os.DevNull, "."}} {
		if _, err := c.gotool(dir, args...); err != nil {
			return "", nil, err
		}
	}
	out, err := c.gotool(dir, "list", "-m", "all")
	if err != nil {
		return "", nil, err
	}
	graph = strings.Split(strings.TrimSpace(out), "\n")[1:] // without the main module
	slices.Sort(graph)
	return dir, graph, nil
}

// backend compares a consumer of a backend with one of its client library and core.
func (c *checker) backend(name string) error {
	path := prefix + "backends/" + name
	program := fmt.Sprintf(`package main

import (
	"context"
	"fmt"

	%q
	multilock %q
)

func main() {
	b, err := %s.Open(context.Background(), %s.Options{})
	fmt.Println(b, err, multilock.ErrLost)
}
`, path, prefix+"core", name, name)
	dir, graph, err := c.consumer("use-"+name, program, path+"@"+c.version, prefix+"core@"+c.version)
	if err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return err
	}
	f, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		return err
	}
	if f.Go.Version != "1.26.0" || f.Toolchain != nil {
		return fmt.Errorf("the consumer's go line moved to %s", f.Go.Version)
	}
	base, err := c.baseline(name)
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	var faults []error
	for _, m := range graph {
		if !slices.Contains(base, m) && m != path+" "+c.version {
			faults = append(faults, fmt.Errorf("the graph of a consumer holds %s", m))
		}
		for _, n := range never {
			if strings.HasPrefix(m, n+" ") && !slices.Contains(base, m) {
				faults = append(faults, fmt.Errorf("the graph of a consumer holds %s", m))
			}
		}
	}
	return errors.Join(faults...)
}

// baseline is the graph of a program that uses core and, directly, the packages
// outside the standard library that the backend imports.
func (c *checker) baseline(name string) ([]string, error) {
	mod, err := exec.Command("git", "show", "HEAD:backends/"+name+"/go.mod").Output()
	if err != nil {
		return nil, err
	}
	f, err := modfile.Parse("go.mod", mod, nil)
	if err != nil {
		return nil, err
	}
	gets := []string{prefix + "core@" + c.version}
	for _, r := range f.Require {
		if !strings.HasPrefix(r.Mod.Path, prefix) {
			gets = append(gets, r.Mod.Path+"@"+r.Mod.Version)
		}
	}
	out, err := c.gotool(filepath.Join(c.dir, "use-"+name), "list", "-f", `{{range .Imports}}{{.}}{{"\n"}}{{end}}`, prefix+"backends/"+name+"/...")
	if err != nil {
		return nil, err
	}
	var imports strings.Builder
	seen := map[string]bool{prefix + "core": true}
	for _, imp := range strings.Fields(out) {
		if first, _, _ := strings.Cut(imp, "/"); !strings.Contains(first, ".") || strings.HasPrefix(imp, prefix+"backends/") || seen[imp] {
			continue
		}
		seen[imp] = true
		fmt.Fprintf(&imports, "\t_ %q\n", imp)
	}
	program := "package main\n\nimport (\n" + imports.String() + fmt.Sprintf("\tmultilock %q\n)\n\nfunc main() { println(multilock.ErrLost) }\n", prefix+"core")
	_, graph, err := c.consumer("base-"+name, program, gets...)
	return graph, err
}

func (c *checker) install(path string) error {
	_, err := c.gotool(c.dir, "install", prefix+path+"@"+c.version)
	return err
}

var goBlock = regexp.MustCompile("(?s)```go\n(package main.*?)```")

func (c *checker) quickStart() error {
	readme, err := exec.Command("git", "show", "HEAD:README.md").Output()
	if err != nil {
		return err
	}
	blocks := goBlock.FindAllSubmatch(readme, -1)
	if len(blocks) == 0 {
		return errors.New("the README has no whole program")
	}
	for i, b := range blocks {
		var gets []string
		for _, m := range regexp.MustCompile(`"(`+regexp.QuoteMeta(prefix)+`[^"]+)"`).FindAllSubmatch(b[1], -1) {
			gets = append(gets, string(m[1])+"@"+c.version)
		}
		if _, _, err := c.consumer(fmt.Sprintf("quickstart-%d", i+1), string(b[1]), gets...); err != nil {
			return err
		}
	}
	return nil
}

var shBlock = regexp.MustCompile("(?s)```\n(go install [^`]*gen new -module.*?)```")

// ownStore runs the README's commands for a backend of a third party, with the
// packed version in place of the latest. The kit must fail it, and say why.
func (c *checker) ownStore() error {
	readme, err := exec.Command("git", "show", "HEAD:README.md").Output()
	if err != nil {
		return err
	}
	m := shBlock.FindSubmatch(readme)
	if m == nil {
		return errors.New("the README has no block of commands with gen new -module")
	}
	dir := filepath.Join(c.dir, "own")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// All of the kit would take its time over a scaffold that does nothing.
	script := strings.NewReplacer("@latest", "@"+c.version, "go test ./...", "go vet ./... && go test -run '^Test(HAR|ACQ)' ./...").Replace(string(m[1]))
	cmd := exec.Command("bash", "-euc", script)
	cmd.Dir = dir
	cmd.Env = append(c.env, "PATH="+filepath.Join(c.dir, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !bytes.Contains(out, []byte("Promise: ")) || !bytes.Contains(out, []byte("--- FAIL: TestACQOneWinner")) ||
		!bytes.Contains(out, []byte("Acquire is not written yet")) || bytes.Contains(out, []byte("--- FAIL: TestHARDeclared")) {
		return fmt.Errorf("want failures that quote promises and say what to write, got %v\n%s\n%s", err, script, out)
	}
	return nil
}
