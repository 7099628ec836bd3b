package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/multilock/multilock-go/gen/internal/emit"
	"github.com/multilock/multilock-go/gen/internal/scaffold"
)

// goLine is the go line of modules that gen begins outside a repository.
const goLine = "1.26.0"

// usageError is wrong usage of a command.
type usageError string

func (e usageError) Error() string { return string(e) }

// list tells the backends, the modules or the generated files.
func list(dir, what string, stdout io.Writer) error {
	_, _, m, err := load(dir)
	if err != nil {
		return err
	}
	switch what {
	case "", "backends":
		for _, b := range m.Backends {
			status := "planned"
			if b.Ready {
				status = "ready"
			}
			fmt.Fprintf(stdout, "%s\t%s\t%s\n", b.Name, status, b.Example)
		}
	case "files":
		files, err := emit.Run(m)
		if err != nil {
			return err
		}
		for _, f := range files {
			part := ""
			if f.Edit != nil {
				part = "\tin part"
			}
			fmt.Fprintf(stdout, "%s%s\n", f.Path, part)
		}
	case "released":
		for _, path := range m.Released() {
			fmt.Fprintln(stdout, path)
		}
	case "rules":
		for _, r := range m.Rules {
			fmt.Fprintf(stdout, "%s\t%s\n", r.ID, r.Title)
		}
	default:
		return usageError(fmt.Sprintf("gen list: %q is not allowed; allowed: backends, files, released, rules", what))
	}
	return nil
}

// begin is gen new: it writes a scaffold and, in a repository, generates.
func begin(dir string, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gen new", flag.ContinueOnError)
	flags.SetOutput(stderr)
	module := flags.String("module", "", "begin a module of its own with this path in a directory named after its last element")
	if err := flags.Parse(args); err != nil {
		return usageError(err.Error())
	}
	if *module != "" {
		if flags.NArg() != 0 {
			return usageError("gen new -module PATH takes no name: it is the last element of PATH")
		}
		files, err := scaffold.Alone(*module, goLine)
		if err != nil {
			return err
		}
		if err := scaffold.Write(dir, files); err != nil {
			return err
		}
		for _, f := range files {
			fmt.Fprintln(stdout, f.Path)
		}
		fmt.Fprintf(stdout, "Next, in %s: go mod tidy, gen conformance, go test ./...\n", filepath.Dir(files[0].Path))
		return nil
	}
	if flags.NArg() != 1 {
		return usageError("gen new takes the name of the backend")
	}
	name := flags.Arg(0)
	root, s, m, err := load(dir)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(root, specName))
	if err != nil {
		return err
	}
	lines := map[string]int{}
	for _, b := range s.Backends {
		lines[b.Name] = b.Line
	}
	files, text, err := scaffold.InRepository(m, text, lines, name)
	if err != nil {
		return err
	}
	if err := scaffold.Write(root, files); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, specName), text, 0o644); err != nil {
		return err
	}
	for _, f := range files {
		fmt.Fprintf(stdout, "%s: written once, now yours\n", f.Path)
	}
	if err := generate(root, false, stdout); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "Next: go test ./... in backends/%s/conformancetest; its failures say what to write.\n", name)
	return nil
}

// setups is a flag that may be given several times.
type setups []string

func (s *setups) String() string { return strings.Join(*s, ",") }

func (s *setups) Set(v string) error {
	if v != "" && !regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`).MatchString(v) {
		return errors.New("allowed: an exported Go identifier such as Cluster")
	}
	*s = append(*s, v)
	return nil
}

// entries is gen conformance: the entry tests of a third party's package.
func entries(dir string, args []string, check bool, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("gen conformance", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rules := flags.String("rules", "", "the kit's rules.txt; by default that of the kit the module requires")
	var s setups
	flags.Var(&s, "setup", "a topology X with a function newXHarness; may be given several times; none means newHarness")
	if err := flags.Parse(args); err != nil {
		return usageError(err.Error())
	}
	if flags.NArg() > 1 {
		return usageError("gen conformance takes at most one directory")
	}
	if flags.NArg() == 1 {
		dir = flags.Arg(0)
	}
	want, err := scaffold.Entries(dir, *rules, s)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, scaffold.EntryFile)
	got, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	switch {
	case bytes.Equal(got, want):
		return nil
	case len(got) > 0 && !bytes.Contains(got[:min(len(got), 200)], []byte(scaffold.EntryHeader)):
		return fmt.Errorf("%s: a file that gen did not write is in the place of a generated one; move or delete it", path)
	}
	fmt.Fprintln(stdout, path)
	if check {
		return errDrift
	}
	return os.WriteFile(path, want, 0o644)
}
