// Package modules looks at the repository's modules as a release would: as they
// are committed, not as they lie in the working tree.
package modules

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// Prefix begins the path of every module.
const Prefix = "github.com/multilock/multilock-go/"

// Tree is a commit, written out.
type Tree struct {
	Dir      string
	Version  string   // that backends.yaml sets
	Released []string // directories of the modules that are tagged, sorted
}

var versionLine = regexp.MustCompile(`(?m)^version: (v[0-9][^\s]*)$`)

// Export writes out a commit of the repository repo into dir, which it makes.
func Export(repo, commit, dir string) (*Tree, error) {
	cmd := exec.Command("git", "archive", "--format=tar", commit)
	cmd.Dir = repo
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git archive %s: %w: %s", commit, err, stderr.String())
	}
	if err := extract(out, dir); err != nil {
		return nil, err
	}
	t := &Tree{Dir: dir}
	spec, err := os.ReadFile(filepath.Join(dir, "backends.yaml"))
	if err != nil {
		return nil, err
	}
	m := versionLine.FindSubmatch(spec)
	if m == nil {
		return nil, errors.New(`backends.yaml has no line "version: v..."`)
	}
	t.Version = string(m[1])
	if t.Released, err = Released(dir); err != nil {
		return nil, err
	}
	return t, nil
}

// Released lists the directories of the modules that the generator in root says are
// released.
func Released(root string) ([]string, error) {
	cmd := exec.Command("go", "run", ".", "list", "released")
	cmd.Dir = filepath.Join(root, "gen")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("gen list released: %w", err)
	}
	return strings.Fields(string(out)), nil
}

func extract(archive []byte, dir string) error {
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(name, 0o755)
		case tar.TypeReg:
			if err = os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return err
			}
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(name, content, fs.FileMode(h.Mode)&0o755)
			}
		}
		if err != nil {
			return err
		}
	}
}

// Commands returns the released modules whose root package is a command. They have
// no replace lines, so that go install pkg@version takes them.
func (t *Tree) Commands() []string {
	return slices.DeleteFunc(slices.Clone(t.Released), func(path string) bool {
		text, err := os.ReadFile(filepath.Join(t.Dir, filepath.FromSlash(path), "main.go"))
		return err != nil || !bytes.Contains(text, []byte("\npackage main\n"))
	})
}

// Libraries returns the released modules that programs import.
func (t *Tree) Libraries() []string {
	commands := t.Commands()
	return slices.DeleteFunc(slices.Clone(t.Released), func(path string) bool { return slices.Contains(commands, path) })
}

// GoMod returns the go.mod of the module in the directory path.
func (t *Tree) GoMod(path string) (*modfile.File, error) {
	name := filepath.Join(t.Dir, filepath.FromSlash(path), "go.mod")
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(name, text, nil)
}

// Remove removes a directory with everything in it, write-protected or not.
func Remove(dir string) {
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o700)
		}
		return nil
	})
	_ = os.RemoveAll(dir)
}
