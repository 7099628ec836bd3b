// Command apicheck compares what the released libraries export with the last
// release. A change that breaks their users fails unless the version in
// backends.yaml allows it: before v1 with a new minor version, later with a new
// major one. Run it in the root of a repository that has its tags.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/multilock/multilock-go/tools/internal/modules"
)

// apidiff judges compatibility; it is built from the module proxy.
const apidiff = "golang.org/x/exp/cmd/apidiff@v0.0.0-20261113113407-e3970619a1a4"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "apicheck:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	last, err := modules.LastRelease(root)
	if err != nil {
		return err
	}
	if last == "" {
		fmt.Println("apicheck: there is no release tag (core/v...) to compare with; nothing was compared")
		return nil
	}
	dir, err := os.MkdirTemp("", "multilock-api-")
	if err != nil {
		return err
	}
	defer modules.Remove(dir)
	before, err := modules.Export(root, "core/"+last, filepath.Join(dir, "before"))
	if err != nil {
		return err
	}
	after, err := modules.Export(root, "HEAD", filepath.Join(dir, "after"))
	if err != nil {
		return err
	}
	c := &comparison{dir: dir}
	if err := c.install(); err != nil {
		return err
	}
	var broken []string
	for _, path := range before.Libraries() {
		if !slices.Contains(after.Released, path) {
			broken = append(broken, path+" is no longer released")
			continue
		}
		changes, err := c.compare(before, after, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, change := range changes {
			broken = append(broken, path+": "+change)
		}
	}
	for _, b := range broken {
		fmt.Println(b)
	}
	need := next(last)
	switch {
	case len(broken) == 0:
		fmt.Printf("apicheck: %d modules are compatible with %s\n", len(before.Libraries()), last)
	case semver.Compare(after.Version, need) < 0:
		return fmt.Errorf("incompatible with %s: take the changes back, or set the version in backends.yaml, now %s, to %s", last, after.Version, need)
	default:
		fmt.Printf("apicheck: incompatible with %s, which %s allows; the changelog has to say so\n", last, after.Version)
	}
	return nil
}

// next is the lowest version that may break users of v.
func next(v string) string {
	var major, minor, patch int
	_, _ = fmt.Sscanf(semver.Canonical(v), "v%d.%d.%d", &major, &minor, &patch) // it is valid
	if major == 0 {
		return fmt.Sprintf("v0.%d.0", minor+1)
	}
	return fmt.Sprintf("v%d.0.0", major+1)
}

// comparison runs apidiff.
type comparison struct {
	dir, tool string
	files     int
}

func (c *comparison) install() error {
	c.tool = filepath.Join(c.dir, "bin", "apidiff")
	cmd := exec.Command("go", "install", apidiff)
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOBIN="+filepath.Dir(c.tool))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("installing apidiff: %w\n%s", err, out)
	}
	return nil
}

// compare returns the incompatible changes of a module.
func (c *comparison) compare(before, after *modules.Tree, path string) ([]string, error) {
	var exports []string
	for _, t := range []*modules.Tree{before, after} {
		c.files++
		export := filepath.Join(c.dir, fmt.Sprintf("%d.api", c.files))
		if _, err := c.run(filepath.Join(t.Dir, filepath.FromSlash(path)), "-m", "-w", export, modules.Prefix+path); err != nil {
			return nil, err
		}
		exports = append(exports, export)
	}
	out, err := c.run(c.dir, append([]string{"-m", "-incompatible"}, exports...)...)
	if err != nil {
		return nil, err
	}
	var changes []string
	for line := range strings.Lines(out) {
		if change, ok := strings.CutPrefix(strings.TrimSpace(line), "- "); ok {
			changes = append(changes, change)
		}
	}
	return changes, nil
}

func (c *comparison) run(dir string, args ...string) (string, error) {
	cmd := exec.Command(c.tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("apidiff %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out), nil
}
