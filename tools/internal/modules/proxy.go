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

// Pack packs the released modules of t into a proxy below dir.
func (t *Tree) Pack(dir string) (*Proxy, error) {
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
	// what this machine has downloaded already serves as a second proxy
	proxies := strings.Join([]string{fileURL(p.Dir), fileURL(filepath.Join(env[1], "cache", "download")), env[0]}, ",")
	p.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-modcacherw", "GOPROXY="+proxies,
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
