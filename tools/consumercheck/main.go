// Command consumercheck looks at the released modules as their users will: it
// packs them from the committed tree, serves them from a file proxy, and with an
// empty module cache, in empty modules,
//
//   - gets, builds and tidies each backend, runs its README's quick start against a
//     server, and compares the module graph: beyond that of the client library and
//     core it may hold the backend alone, and the consumer's go line and pins stay;
//   - runs the whole programs of README.md until an interrupt;
//   - installs the commands, and runs them;
//   - begins a backend of a third party's with gen, and builds the example of one.
//
// Run it in the root of the repository. It needs the module proxy for the client
// libraries, or a module cache that has them, and the test servers.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/multilock/multilock-go/testservers/proc"
	"github.com/multilock/multilock-go/tools/internal/modules"
)

const prefix = modules.Prefix

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "consumercheck:", err)
		os.Exit(1)
	}
}

// checker is one check: the packed modules, and where consumers are made.
type checker struct {
	*modules.Proxy
	tree    *modules.Tree
	dir     string
	servers *proc.Scope
}

func run() error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "multilock-consumer-")
	if err != nil {
		return err
	}
	defer modules.Remove(dir)
	tree, err := modules.Export(root, "HEAD", filepath.Join(dir, "tree"))
	if err != nil {
		return err
	}
	proxy, _, err := tree.Pack(dir)
	if err != nil {
		return err
	}
	fmt.Printf("packed %d modules at %s\n", len(tree.Released), tree.Version)
	c := &checker{Proxy: proxy, tree: tree, dir: dir, servers: &proc.Scope{}}
	defer c.servers.Close()

	var faults []error
	step := func(what, fine string, f func() error) {
		begin := time.Now()
		if err := f(); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", what, err))
			return
		}
		fmt.Printf("%-24s %s (%v)\n", what, fine, time.Since(begin).Round(100*time.Millisecond))
	}
	for _, path := range tree.Released {
		if name, ok := strings.CutPrefix(path, "backends/"); ok {
			step(path, "quick start runs; its client library, core, and nothing else", func() error { return c.backend(name) })
		}
	}
	for _, path := range tree.Libraries() {
		if !strings.HasPrefix(path, "backends/") {
			step(path, "get, build, tidy", func() error { return c.library(path) })
		}
	}
	step("README", "its programs run, and end with an interrupt", c.readme)
	for _, path := range tree.Commands() {
		step(path, "go install works, and the command runs", func() error { return c.install(path) })
	}
	step("gen new", "a backend of a third party's compiles, and fails the kit by its rules", c.scaffold)
	step("examples/custombackend", "builds and passes as a third party's", c.example)
	return errors.Join(faults...)
}

// at is a module as go get takes it.
func (c *checker) at(path string) string { return prefix + path + "@" + c.tree.Version }

// goFloor is the go line of a consumer, as old as the released ones allow.
const goFloor = "1.26.0"

// module makes an empty module with some files.
func (c *checker) module(name, requires string, files map[string]string) (dir string, err error) {
	dir = filepath.Join(c.dir, "consumers", name)
	files["go.mod"] = "module example.com/" + name + "\n\ngo " + goFloor + "\n" + requires
	for file, text := range files {
		full := filepath.Join(dir, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// program does with a program what its author would do, up to a binary.
func (c *checker) program(name, text string, gets ...string) (dir, binary string, err error) {
	dir, err = c.module(name, "", map[string]string{"main.go": text})
	if err != nil {
		return "", "", err
	}
	binary = filepath.Join(dir, "program")
	for _, args := range [][]string{append([]string{"get"}, gets...), {"build", "-o", binary, "."}, {"mod", "tidy"}, {"vet", "."}} {
		if _, err := c.Go(dir, args...); err != nil {
			return "", "", err
		}
	}
	f, err := c.goMod(dir)
	if err != nil {
		return "", "", err
	}
	if f.Go.Version != goFloor || f.Toolchain != nil {
		return "", "", fmt.Errorf("the consumer's go line moved to %s", f.Go.Version)
	}
	return dir, binary, nil
}

// graph lists the modules that a consumer depends on, sorted.
func (c *checker) graph(dir string) ([]string, error) {
	out, err := c.Go(dir, "list", "-mod=mod", "-m", "all")
	if err != nil {
		return nil, err
	}
	list := strings.Split(strings.TrimSpace(out), "\n")[1:] // without the main module
	slices.Sort(list)
	return list, nil
}

// library builds every package of a released library.
func (c *checker) library(path string) error {
	packages, err := c.packages(path)
	if err != nil {
		return err
	}
	_, _, err = c.program("use-"+strings.ReplaceAll(path, "/", "-"), imports(packages), c.at(path))
	return err
}

// imports is a program that imports packages.
func imports(packages []string) string {
	var b strings.Builder
	b.WriteString("package main\n\nimport (\n")
	for _, p := range packages {
		fmt.Fprintf(&b, "\t_ %q\n", p)
	}
	b.WriteString(")\n\nfunc main() {}\n")
	return b.String()
}

// packages are those of a module that others may import.
func (c *checker) packages(path string) ([]string, error) {
	root := filepath.Join(c.tree.Dir, filepath.FromSlash(path))
	out, err := c.Go(root, "list", "-f", `{{if ne .Name "main"}}{{.ImportPath}}{{end}}`, "./...")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Fields(out), func(p string) bool { return strings.Contains(p, "/internal/") }), nil
}
