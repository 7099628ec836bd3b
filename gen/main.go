package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/multilock/multilock-go/gen/internal/emit"
	"github.com/multilock/multilock-go/gen/internal/model"
	"github.com/multilock/multilock-go/gen/internal/spec"
	"github.com/multilock/multilock-go/gen/internal/write"
)

const specName = "backends.yaml"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// errDrift is the result of a check that found differences.
var errDrift = errors.New("generated files differ from the spec; run gen and commit the result")

// run is main without the process: 0 for success, 1 for a fault or drift, 2 for
// wrong usage.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	check := flags.Bool("check", false, "write nothing; fail if a generated file is not what it should be")
	dir := flags.String("C", ".", "a directory in the repository")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	var rest []string
	if flags.NArg() > 0 {
		rest = flags.Args()[1:]
	}
	var err error
	switch cmd := flags.Arg(0); {
	case cmd == "":
		err = generate(*dir, *check, stdout)
	case cmd == "list" && len(rest) <= 1:
		err = list(*dir, strings.Join(rest, ""), stdout)
	case cmd == "new":
		err = begin(*dir, rest, stdout, stderr)
	case cmd == "conformance":
		err = entries(*dir, rest, *check, stdout, stderr)
	default:
		flags.Usage()
		return 2
	}
	var wrong usageError
	switch {
	case errors.As(err, &wrong):
		fmt.Fprintln(stderr, err)
		return 2
	case err != nil:
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

const usage = `gen makes the generated files of MultiLock from backends.yaml.

  gen                     write what differs from the spec, remove what is stale
  gen -check              only tell; exit status 1 if anything differs
  gen list [WHAT]         list backends (the default), files or rules
  gen new NAME            begin a backend of this repository
  gen new -module PATH    begin a backend of your own, as a module
  gen conformance [DIR]   write the entry tests of the conformance kit into your
                          package, one test function per rule

`

// load finds the repository that dir is in and reads its spec.
func load(dir string) (root string, s *spec.Spec, m *model.Model, err error) {
	root, err = filepath.Abs(dir)
	if err != nil {
		return "", nil, nil, err
	}
	for {
		data, err := os.ReadFile(filepath.Join(root, specName))
		if err == nil {
			s, m, err = parse(root, data)
			return root, s, m, err
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", nil, nil, err
		}
		up := filepath.Dir(root)
		if up == root {
			return "", nil, nil, fmt.Errorf("no %s in %s or above it", specName, dir)
		}
		root = up
	}
}

func parse(root string, data []byte) (*spec.Spec, *model.Model, error) {
	s, err := spec.Parse(specName, data)
	if err != nil {
		return nil, nil, err
	}
	m, err := model.Resolve(specName, s)
	if err != nil {
		return nil, nil, err
	}
	m.Rules, err = rules(root)
	return s, m, err
}

// rules reads the list of rules that the conformance kit keeps beside its code.
func rules(root string) ([]model.Rule, error) {
	const name = "conformance/rules.txt"
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return model.ParseRules(name, data)
}

func generate(dir string, check bool, stdout io.Writer) error {
	root, _, m, err := load(dir)
	if err != nil {
		return err
	}
	files, err := emit.Run(m)
	if err != nil {
		return err
	}
	changes, err := write.Plan(root, files)
	if err != nil {
		return errors.Join(err, write.CheckTree(root, m))
	}
	for _, c := range changes {
		fmt.Fprintf(stdout, "%s: %s\n", c.Path, c.Why)
	}
	if check {
		err := write.CheckTree(root, m)
		if len(changes) > 0 {
			err = errors.Join(err, errDrift)
		}
		return err
	}
	if err := write.Apply(root, changes); err != nil {
		return err
	}
	return write.CheckTree(root, m)
}
