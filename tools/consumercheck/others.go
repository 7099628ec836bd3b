package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// install installs a command and runs it.
func (c *checker) install(path string) error {
	if _, err := c.Go(c.dir, "install", c.at(path)); err != nil {
		return err
	}
	name := path[strings.LastIndex(path, "/")+1:]
	_, err := c.command(c.dir, name, "-h")
	return err
}

// command runs an installed command.
func (c *checker) command(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(c.dir, "bin", name), args...)
	cmd.Dir, cmd.Env = dir, c.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// anyRule is one rule of the kit that every driver has to keep, and scaffoldTest the
// test function that gen conformance makes of it.
const (
	anyRule      = "ACQ-one-winner"
	scaffoldTest = "TestACQOneWinner"
)

// scaffold follows the README's third quick start: a backend that gen begins.
func (c *checker) scaffold() error {
	if _, err := c.command(c.dir, "gen", "new", "-module", "example.com/toystore"); err != nil {
		return err
	}
	dir := filepath.Join(c.dir, "toystore")
	if _, err := c.Go(dir, "mod", "tidy"); err != nil {
		return err
	}
	if _, err := c.command(dir, "gen", "conformance"); err != nil {
		return err
	}
	if _, err := c.Go(dir, "vet", "./..."); err != nil {
		return err
	}
	cmd := exec.Command("go", "test", "-run", scaffoldTest, "-timeout", "3m", "./...")
	cmd.Dir, cmd.Env = dir, c.Env
	out, err := cmd.CombinedOutput()
	if err == nil {
		return errors.New("the empty driver passes the kit")
	}
	if !strings.Contains(string(out), "--- FAIL: "+scaffoldTest) {
		return fmt.Errorf("the empty driver must fail the kit's rules; it printed\n%s", out)
	}
	return nil
}

// example builds examples/custombackend without the replace lines that it has in
// the repository, and puts it through one rule.
func (c *checker) example() error {
	source := filepath.Join(c.tree.Dir, "examples", "custombackend")
	dir := filepath.Join(c.dir, "consumers", "custombackend")
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return err
	}
	f, err := c.goMod(dir)
	if err != nil {
		return err
	}
	for _, r := range append(f.Replace[:0:0], f.Replace...) {
		if err := f.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return err
		}
	}
	f.Cleanup()
	text, err := f.Format()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), text, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"mod", "tidy"}, {"vet", "./..."}, {"test", "-run", "TestConformance/" + anyRule, "-timeout", "3m", "./..."}} {
		out, err := c.Go(dir, args...)
		if err != nil {
			return fmt.Errorf("%w%s", err, out)
		}
	}
	return nil
}
