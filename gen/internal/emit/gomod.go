package emit

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/multilock/multilock-go/gen/internal/model"
)

// GoMods renews the lines about siblings in every go.mod: their versions, and
// the replace lines that let a module build by itself before a release. The rest
// of a go.mod is written by hand and by go mod tidy. The go.mod of a conformance
// test is made if there is none.
func GoMods(m *model.Model) ([]File, error) {
	var out []File
	for _, mod := range m.Modules {
		var needs []string
		if mod.Catalogue {
			needs = append(needs, "core")
			for _, b := range m.Ready() {
				needs = append(needs, b.Dir)
			}
		}
		out = append(out, goMod(m, mod.Path, needs, nil, mod.Installable, false))
	}
	for _, b := range m.Ready() {
		out = append(out, goMod(m, b.Dir, []string{"core"}, nil, false, false))
		if b.Tests != nil {
			needs := slices.Concat([]string{"core", "conformance", b.Dir}, b.Tests.Siblings)
			out = append(out, goMod(m, b.Dir+"/conformancetest", needs, b.Tests.Requires, false, true))
		}
	}
	return out, nil
}

func goMod(m *model.Model, dir string, siblings []string, requires []model.Require, installable, create bool) File {
	return File{Path: dir + "/go.mod", Edit: func(old []byte) ([]byte, error) {
		if old == nil {
			if !create {
				return nil, errors.New("there is no module; write its go.mod, or take it out of backends.yaml")
			}
			old = fmt.Appendf(nil, "module %s/%s\n\ngo %s\n", m.Module, dir, m.Go)
		}
		f, err := modfile.Parse(dir+"/go.mod", old, nil)
		if err != nil {
			return nil, err
		}
		if f.Module == nil || f.Module.Mod.Path != m.Module+"/"+dir {
			return nil, fmt.Errorf("the module must be called %s/%s", m.Module, dir)
		}
		return editGoMod(m, f, dir, siblings, requires, installable)
	}}
}

func editGoMod(m *model.Model, f *modfile.File, dir string, siblings []string, requires []model.Require, installable bool) ([]byte, error) {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	if f.Go == nil || f.Go.Version != m.Go {
		note(f.AddGoStmt(m.Go))
	}
	f.DropToolchainStmt()
	has := func(p string) bool {
		return slices.ContainsFunc(f.Require, func(r *modfile.Require) bool { return r.Mod.Path == p })
	}
	for _, s := range siblings {
		if p := m.Module + "/" + s; !has(p) {
			note(f.AddRequire(p, m.Version))
		}
	}
	for _, r := range requires {
		if !has(r.Path) {
			note(f.AddRequire(r.Path, r.Version))
		}
	}
	wanted := map[string]string{} // replacement by path
	for _, r := range f.Require {
		s, ok := strings.CutPrefix(r.Mod.Path, m.Module+"/")
		if !ok {
			continue
		}
		if r.Mod.Version != m.Version {
			note(f.AddRequire(r.Mod.Path, m.Version))
		}
		if !installable {
			wanted[r.Mod.Path] = relative(dir, s)
		}
	}
	for _, r := range slices.Clone(f.Replace) {
		if !strings.HasPrefix(r.Old.Path, m.Module+"/") {
			continue
		}
		if r.Old.Version == m.Version && wanted[r.Old.Path] == r.New.Path && r.New.Version == "" {
			delete(wanted, r.Old.Path)
			continue
		}
		note(f.DropReplace(r.Old.Path, r.Old.Version))
	}
	for _, p := range sortedKeys(wanted) {
		note(f.AddReplace(p, m.Version, wanted[p], ""))
	}
	f.Cleanup()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return f.Format()
}

// relative is the path from one directory of the repository to another.
func relative(from, to string) string {
	rel, err := filepath.Rel(filepath.FromSlash(from), filepath.FromSlash(to))
	if err != nil {
		panic(err) // both are relative
	}
	rel = filepath.ToSlash(rel)
	if !strings.HasPrefix(rel, ".") {
		rel = "./" + rel
	}
	return rel
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Workspace makes go.work: every module, and a replace line for each that others
// can require. Modules without replace lines need these, and without them the go
// command takes ../core here and ../../core there for a conflict.
func Workspace(m *model.Model) ([]File, error) {
	var uses, siblings []string
	for _, mod := range m.Modules {
		if !mod.Outside {
			uses = append(uses, mod.Path)
			siblings = append(siblings, mod.Path)
		}
	}
	for _, b := range m.Ready() {
		uses = append(uses, b.Dir)
		if b.Tests != nil {
			uses = append(uses, path.Join(b.Dir, "conformancetest"))
		}
		siblings = append(siblings, b.Dir)
	}
	slices.Sort(uses)
	slices.Sort(siblings)
	var s strings.Builder
	fmt.Fprintf(&s, "// %s\n\ngo %s\n\nuse (\n", Header, m.Go)
	for _, u := range uses {
		fmt.Fprintf(&s, "\t./%s\n", u)
	}
	fmt.Fprintf(&s, ")\n\nreplace (\n")
	for _, r := range siblings {
		fmt.Fprintf(&s, "\t%s/%s %s => ./%s\n", m.Module, r, m.Version, r)
	}
	s.WriteString(")\n")
	return []File{{Path: "go.work", Data: []byte(s.String())}}, nil
}
