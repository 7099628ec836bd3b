package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

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
	cmd := flags.Arg(0)
	var err error
	switch {
	case cmd == "":
		err = generate(*dir, *check, stdout)
	case cmd == "list" && flags.NArg() == 1:
		err = list(*dir, stdout)
	default:
		flags.Usage()
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

const usage = `gen makes the generated files of MultiLock from backends.yaml.

  gen             write what differs from the spec, remove what is stale
  gen -check      only tell; exit status 1 if anything differs
  gen list        list the generated files

`

// load finds the repository that dir is in and reads its spec.
func load(dir string) (root string, m *model.Model, err error) {
	root, err = filepath.Abs(dir)
	if err != nil {
		return "", nil, err
	}
	for {
		data, err := os.ReadFile(filepath.Join(root, specName))
		if err == nil {
			s, err := spec.Parse(specName, data)
			if err != nil {
				return "", nil, err
			}
			m, err := model.Resolve(specName, s)
			if err == nil {
				m.Rules, err = rules(root)
			}
			return root, m, err
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", nil, err
		}
		up := filepath.Dir(root)
		if up == root {
			return "", nil, fmt.Errorf("no %s in %s or above it", specName, dir)
		}
		root = up
	}
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
	root, m, err := load(dir)
	if err != nil {
		return err
	}
	files, err := emit.Run(m)
	if err != nil {
		return err
	}
	treeErr := write.CheckTree(root, m)
	changes, err := write.Plan(root, files)
	if err := errors.Join(treeErr, err); err != nil {
		return err
	}
	for _, c := range changes {
		fmt.Fprintf(stdout, "%s: %s\n", c.Path, c.Why)
	}
	if check {
		if len(changes) > 0 {
			return errDrift
		}
		return nil
	}
	return write.Apply(root, changes)
}

func list(dir string, stdout io.Writer) error {
	_, m, err := load(dir)
	if err != nil {
		return err
	}
	files, err := emit.Run(m)
	if err != nil {
		return err
	}
	for _, f := range files {
		part := ""
		if f.Edit != nil {
			part = " (in part)"
		}
		fmt.Fprintf(stdout, "%s%s\n", f.Path, part)
	}
	return nil
}
