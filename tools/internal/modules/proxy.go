package modules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// Proxy is a module proxy in a directory with the released modules of a tree, and a
// module cache that nobody else uses: the contents of a version change with every
// commit until it is tagged.
type Proxy struct {
	Dir string
	Env []string // for the go command, as on a machine that has never seen the repository
}

// Pack packs the released modules of t into a proxy below dir, as a release would:
// it tidies the commands in t first, which is possible only when the versions they
// need exist. The files that this changes are those a release has to commit. No
// packed module contains the go.sum of another, so their hashes stay.
func (t *Tree) Pack(dir string) (p *Proxy, changed []string, err error) {
	p, err = t.pack(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, path := range t.Commands() {
		files, err := p.tidy(t, path)
		if err == nil {
			err = p.add(t, path)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("tidying %s: %w", path, err)
		}
		changed = append(changed, files...)
	}
	return p, changed, nil
}

func (t *Tree) pack(dir string) (*Proxy, error) {
	p := &Proxy{Dir: filepath.Join(dir, "proxy")}
	for _, path := range t.Released {
		if err := p.add(t, path); err != nil {
			return nil, fmt.Errorf("packing %s: %w", path, err)
		}
	}
	out, err := exec.Command("go", "env", "GOPROXY", "GOMODCACHE", "GONOSUMDB").Output()
	if err != nil {
		return nil, err
	}
	env := strings.Split(string(out), "\n")
	// What this machine has downloaded already serves as a second proxy, and with
	// -trimpath what it has compiled from it with that flag is used again.
	proxies := strings.Join([]string{fileURL(p.Dir), fileURL(filepath.Join(env[1], "cache", "download")), env[0]}, ",")
	p.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-modcacherw -trimpath", "GOPROXY="+proxies,
		"GOMODCACHE="+filepath.Join(dir, "cache"), "GOBIN="+filepath.Join(dir, "bin"),
		"GONOSUMDB="+strings.Trim(strings.TrimSuffix(Prefix, "/")+","+env[2], ","))
	return p, nil
}

func fileURL(dir string) string { return "file://" + filepath.ToSlash(dir) }

// add packs one module as the module proxy does: without the modules nested in it,
// and with the repository's licence.
func (p *Proxy) add(t *Tree, path string) error {
	m := module.Version{Path: Prefix + path, Version: t.Version}
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	source := filepath.Join(t.Dir, filepath.FromSlash(path))
	licence := filepath.Join(source, "LICENSE")
	if _, err := os.Stat(licence); os.IsNotExist(err) {
		text, err := os.ReadFile(filepath.Join(t.Dir, "LICENSE"))
		if err != nil {
			return err
		}
		if err := os.WriteFile(licence, text, 0o644); err != nil {
			return err
		}
		defer os.Remove(licence) // it is not in the tree
	}
	var b bytes.Buffer
	if err := zip.CreateFromDir(&b, m, source); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(source, "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(map[string]any{"Version": t.Version, "Time": time.Unix(0, 0).UTC()})
	if err != nil {
		return err
	}
	dir := filepath.Join(p.Dir, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		t.Version + ".zip": b.Bytes(), t.Version + ".mod": mod, t.Version + ".info": info, "list": []byte(t.Version + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Go runs the go command in dir against the proxy and returns what it printed.
func (p *Proxy) Go(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = dir, p.Env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out), nil
}

// tidy runs go mod tidy in a command's module of t, and returns the files that
// changed.
func (p *Proxy) tidy(t *Tree, path string) ([]string, error) {
	module := filepath.Join(t.Dir, filepath.FromSlash(path))
	files := []string{"go.mod", "go.sum"}
	before := make([][]byte, len(files))
	for i, name := range files {
		before[i], _ = os.ReadFile(filepath.Join(module, name)) // there may be no go.sum
	}
	// without the hashes that siblings had in an earlier state of the version
	if err := os.WriteFile(filepath.Join(module, "go.sum"), dropSiblings(before[1]), 0o644); err != nil {
		return nil, err
	}
	if _, err := p.Go(module, "mod", "tidy"); err != nil {
		return nil, err
	}
	var changed []string
	for i, name := range files {
		after, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(before[i], after) {
			changed = append(changed, path+"/"+name)
		}
	}
	return changed, nil
}

func dropSiblings(sum []byte) []byte {
	var out []byte
	for line := range bytes.Lines(sum) {
		if !bytes.HasPrefix(line, []byte(Prefix)) {
			out = append(out, line...)
		}
	}
	return out
}
