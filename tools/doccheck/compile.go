package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

const prefix = "github.com/multilock/multilock-go/"

// known are the packages that a fragment may use without importing them.
var known = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "http": "net/http", "log": "log", "os": "os",
	"slog": "log/slog", "sql": "database/sql", "testing": "testing", "time": "time", "tls": "crypto/tls",
	"multilock": prefix + "core", "driver": prefix + "core/driver", "changes": prefix + "core/changes",
	"health": prefix + "core/health", "fence": prefix + "core/fence",
	"conformance": prefix + "conformance", "fxmodule": prefix + "fxmodule", "otelmultilock": prefix + "otelmultilock",
	"azblob": prefix + "backends/azblob", "consul": prefix + "backends/consul", "file": prefix + "backends/file",
	"memory": prefix + "backends/memory", "postgres": prefix + "backends/postgres", "redis": prefix + "backends/redis",
	"sqlserver": prefix + "backends/sqlserver", "zookeeper": prefix + "backends/zookeeper",
	"fx": "go.uber.org/fx", "pgxpool": "github.com/jackc/pgx/v5/pgxpool", "goredis": "github.com/redis/go-redis/v9",
	"zk": "github.com/go-zookeeper/zk",
}

// source is a block as a Go file. //line comments let errors tell the place in the
// Markdown file.
type source struct {
	b        block
	imports  []string // specs
	before   string   // declarations it takes for granted
	body     string
	complete bool // it has a package clause
	function bool // its body are statements
}

// split makes a source of a block.
func split(b block) (*source, error) {
	s := &source{b: b, before: b.with}
	if _, err := parser.ParseFile(token.NewFileSet(), "", b.text, parser.PackageClauseOnly); err == nil {
		s.complete, s.body = true, b.text
		return s, nil
	}
	const clause = "package p;"
	fset := token.NewFileSet()
	f, _ := parser.ParseFile(fset, "", clause+b.text, parser.ImportsOnly)
	s.body = b.text
	if f != nil {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.IMPORT {
				break
			}
			from, to := fset.Position(d.Pos()).Offset-len(clause), fset.Position(d.End()).Offset-len(clause)
			for _, spec := range g.Specs {
				i := spec.(*ast.ImportSpec)
				name := ""
				if i.Name != nil {
					name = i.Name.Name + " "
				}
				s.imports = append(s.imports, name+i.Path.Value)
			}
			s.body = s.body[:from] + blank(s.body[from:to]) + s.body[to:]
		}
	}
	_, err := parser.ParseFile(token.NewFileSet(), "", clause+s.body, parser.SkipObjectResolution)
	s.function = err != nil
	_, err = parser.ParseFile(token.NewFileSet(), "", s.text(nil), parser.SkipObjectResolution)
	return s, err
}

// blank keeps the lines of what was taken out.
func blank(text string) string { return strings.Repeat("\n", strings.Count(text, "\n")) }

// text is the whole file, with further imports.
func (s *source) text(more []string) string {
	var b strings.Builder
	line := fmt.Sprintf("\n//line %s:%d\n", s.b.file, s.b.line)
	if s.complete {
		return line[1:] + s.body
	}
	b.WriteString("package p\n")
	for _, i := range slices.Concat(s.imports, more) {
		b.WriteString("import " + i + "\n")
	}
	b.WriteString(s.before + "\n")
	if !s.function {
		return b.String() + line + s.body + "\n"
	}
	b.WriteString("func _(ctx context.Context) error {" +
		line + s.body + "\nreturn nil\n}\n")
	return b.String()
}

// undefined returns the known packages that s uses without importing them.
func (s *source) undefined() ([]string, error) {
	if s.complete {
		return nil, nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", s.text(nil), 0)
	if err != nil {
		return nil, err
	}
	missing := make(map[string]bool)
	for _, i := range f.Unresolved {
		if known[i.Name] != "" {
			missing[i.Name] = true
		}
	}
	for _, i := range f.Imports { // unresolved as well to the parser
		name := i.Path.Value[strings.LastIndex(i.Path.Value, "/")+1:]
		name = strings.Trim(name, `"`)
		if i.Name != nil {
			name = i.Name.Name
		}
		delete(missing, name)
	}
	var more []string
	for name := range missing {
		more = append(more, fmt.Sprintf("%s %q", name, known[name]))
	}
	slices.Sort(more)
	return more, nil
}

// compile returns what is wrong with the blocks.
func compile(root string, blocks []block) ([]string, error) {
	var faults []string
	fset := token.NewFileSet()
	type unit struct {
		s    *source
		file *ast.File
	}
	var units []unit
	paths := make(map[string]bool)
	for _, b := range blocks {
		s, err := split(b)
		var more []string
		if err == nil {
			more, err = s.undefined()
		}
		var f *ast.File
		if err == nil {
			f, err = parser.ParseFile(fset, "", s.text(more), parser.SkipObjectResolution)
		}
		if err != nil {
			faults = append(faults, fmt.Sprintf("%s:%d: not Go: %v", b.file, b.line, err))
			continue
		}
		for _, i := range f.Imports {
			paths[strings.Trim(i.Path.Value, `"`)] = true
		}
		units = append(units, unit{s, f})
	}
	exports, err := exported(root, paths)
	if err != nil {
		return faults, err
	}
	imports := importer.ForCompiler(fset, "gc", func(p string) (io.ReadCloser, error) {
		if exports[p] == "" {
			return nil, errors.New("there is no such package here")
		}
		return os.Open(exports[p])
	})
	for _, u := range units {
		cfg := types.Config{Importer: imports, Error: func(err error) {
			if !u.s.tolerates(err) {
				faults = append(faults, err.Error())
			}
		}}
		_, _ = cfg.Check("p", fset, []*ast.File{u.file}, nil) // its error is the first of those told
	}
	return faults, nil
}

var unused = regexp.MustCompile(`declared and not used|imported and not used|imported as .* and not used`)

// tolerates reports whether err is only that a fragment goes on elsewhere.
func (s *source) tolerates(err error) bool { return !s.complete && unused.MatchString(err.Error()) }

// exported finds the export data of packages and of all they need.
func exported(root string, paths map[string]bool) (map[string]string, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	args := []string{"list", "-e", "-export", "-deps", "-json=ImportPath,Export"}
	for p := range paths {
		args = append(args, p)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, stderr.String())
	}
	exports := make(map[string]string)
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return exports, nil
		} else if err != nil {
			return nil, err
		}
		exports[p.ImportPath] = p.Export
	}
}
