// Command apidocs checks what the released libraries show to their users: every
// package and every exported name has a comment, and every exported function and
// method is used in an example, unless its comment says that it implements an
// interface, whose owner calls it. Every exported error is explained in
// docs/operations.md. Run it in the root of the repository.
//
// An example may stand in another module than what it shows, where that needs a
// backend or a library that the module must not require.
package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/multilock/multilock-go/tools/internal/modules"
)

func main() {
	faults, n, err := check(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "apidocs:", err)
		os.Exit(2)
	}
	for _, f := range faults {
		fmt.Println(f)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
	fmt.Printf("apidocs: %d packages, %d exported names with comments, %d functions and methods in examples\n", n.packages, n.names, n.shown)
}

// counted tells that the check looked at something.
type counted struct{ packages, names, shown int }

func check(root string) (faults []string, n counted, err error) {
	operations, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		return nil, n, err
	}
	shown, err := examples(root)
	if err != nil {
		return nil, n, err
	}
	released, err := modules.Released(root)
	if err != nil {
		return nil, n, err
	}
	for _, module := range released {
		dirs, err := packageDirs(root, module)
		if err != nil {
			return nil, n, err
		}
		for _, dir := range dirs {
			p, err := read(root, dir)
			if err != nil {
				return nil, n, err
			}
			if p == nil {
				continue
			}
			n.packages++
			n.names += len(p.names)
			faults = append(faults, p.faults...)
			for _, e := range p.errors {
				if !strings.Contains(string(operations), e+"`") {
					faults = append(faults, fmt.Sprintf("docs/operations.md does not explain %s of %s", e, dir))
				}
			}
			for _, f := range p.functions {
				if shown[f.key] {
					n.shown++
					continue
				}
				faults = append(faults, fmt.Sprintf("%s: %s is in no example", f.at, f.key))
			}
		}
	}
	if n.names == 0 || n.shown == 0 {
		return nil, n, errors.New("nothing was found; is this the root of the repository?")
	}
	return faults, n, nil
}

// packageDirs lists the directories of a module that others may import.
func packageDirs(root, module string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(filepath.Join(root, module), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.Name() == "internal" || d.Name() == "testdata" {
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && filepath.ToSlash(rel) != module {
			return fs.SkipDir
		}
		dirs = append(dirs, rel)
		return nil
	})
	return dirs, err
}

// api is what a package exports.
type api struct {
	faults    []string
	names     []string
	errors    []string
	functions []function
}

// function is a function or method that an example has to show: key is the import
// path and name, or for a method .Name.
type function struct{ key, at string }

// conventional methods are called by others than the user.
var conventional = []string{"String", "GoString", "LogValue", "Error", "Is", "Unwrap", "Write"}

// read parses the package in dir; nil if it is a command or there is none.
func read(root, dir string) (*api, error) {
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		return nil, err
	}
	fset, p := token.NewFileSet(), &api{}
	path, documented := modules.Prefix+filepath.ToSlash(dir), false
	var found int
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		if f.Name.Name == "main" {
			return nil, nil
		}
		found++
		documented = documented || f.Doc != nil
		for _, d := range f.Decls {
			p.declaration(fset, path, d)
		}
	}
	if found == 0 {
		return nil, nil
	}
	if !documented {
		p.faults = append(p.faults, dir+": the package has no comment")
	}
	return p, nil
}

// declaration notes the exported names of d, and those without a comment.
func (p *api) declaration(fset *token.FileSet, path string, d ast.Decl) {
	name := func(id *ast.Ident, docs ...*ast.CommentGroup) {
		if !id.IsExported() {
			return
		}
		p.names = append(p.names, id.Name)
		if !slices.ContainsFunc(docs, func(c *ast.CommentGroup) bool { return c != nil }) {
			p.faults = append(p.faults, fmt.Sprintf("%s: %s has no comment", fset.Position(id.Pos()), id.Name))
		}
	}
	fields := func(list *ast.FieldList, others ...*ast.CommentGroup) {
		above := others // a comment speaks for the fields right below it
		for _, f := range list.List {
			if f.Doc != nil || f.Comment != nil {
				above = []*ast.CommentGroup{f.Doc, f.Comment}
			}
			for _, id := range f.Names {
				name(id, above...)
			}
		}
	}
	switch d := d.(type) {
	case *ast.FuncDecl:
		receiver := receiverName(d)
		if !d.Name.IsExported() || receiver != "" && !ast.IsExported(receiver) {
			return
		}
		if receiver != "" && slices.Contains(conventional, d.Name.Name) {
			return
		}
		name(d.Name, d.Doc)
		if receiver != "" && strings.Contains(d.Doc.Text(), d.Name.Name+" implements ") {
			return
		}
		key := path + "." + d.Name.Name
		if receiver != "" {
			key = "." + d.Name.Name
		}
		p.functions = append(p.functions, function{key, fset.Position(d.Pos()).String()})
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				name(s.Name, s.Doc, s.Comment, d.Doc)
				if !s.Name.IsExported() {
					continue
				}
				switch t := s.Type.(type) {
				case *ast.StructType:
					fields(t.Fields, s.Doc, d.Doc)
				case *ast.InterfaceType:
					fields(t.Methods, s.Doc, d.Doc)
				}
			case *ast.ValueSpec:
				for _, id := range s.Names {
					name(id, s.Doc, s.Comment, d.Doc)
					if d.Tok == token.VAR && strings.HasPrefix(id.Name, "Err") {
						p.errors = append(p.errors, id.Name)
					}
				}
			}
		}
	}
}

func receiverName(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	t := d.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// examples lists what the examples of the repository use: import path and name of
// functions, and .Name of methods.
func examples(root string) (map[string]bool, error) {
	shown := map[string]bool{}
	out, err := modules.Git(root, "ls-files", "--cached", "--others", "--exclude-standard", "--", "*_test.go")
	if err != nil {
		return nil, err
	}
	for name := range strings.Lines(out) {
		name = strings.TrimSpace(name)
		if !strings.Contains(name, "example") || strings.Contains(name, "testdata/") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.SkipObjectResolution)
		if errors.Is(err, fs.ErrNotExist) { // deleted, not yet committed
			continue
		}
		if err != nil {
			return nil, err
		}
		imports := map[string]string{}
		for _, i := range f.Imports {
			path := strings.Trim(i.Path.Value, `"`)
			local := path[strings.LastIndex(path, "/")+1:]
			if i.Name != nil {
				local = i.Name.Name
			}
			imports[local] = path
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if id, ok := s.X.(*ast.Ident); ok && imports[id.Name] != "" {
					shown[imports[id.Name]+"."+s.Sel.Name] = true
				} else {
					shown["."+s.Sel.Name] = true
				}
			}
			return true
		})
	}
	return shown, nil
}
