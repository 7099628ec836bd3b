// Command release makes a release of all modules at once: the version that
// backends.yaml sets becomes a tag for each, such as core/v0.1.0.
//
//	go run ./tools/release -dry-run   what it would do, and what is in the way
//	go run ./tools/release            does it, here; it prints how to publish it
//	go run ./tools/release -notes     the changelog's section of the version
//	go run ./tools/release -verify    whether HEAD has all tags of its version
//
// Beforehand, set the version in backends.yaml, run the generator, give the
// version's section in CHANGELOG.md a date, and commit.
//
// The commands (cmd/multilock, gen) have no replace lines, so that go install takes
// them; their go.mod and go.sum can be tidied only when the versions they need
// exist. So the release packs them from the commit, tidies against those, and
// commits the result. No packed module contains the go.sum of another, so the
// hashes are those that will be published.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/multilock/multilock-go/tools/internal/modules"
)

func main() {
	dry := flag.Bool("dry-run", false, "change nothing")
	notes := flag.Bool("notes", false, "print the changelog's section of the version")
	check := flag.Bool("verify", false, "check that HEAD has all tags of its version")
	flag.Parse()
	err := func() error {
		root, err := os.Getwd()
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "multilock-release-")
		if err != nil {
			return err
		}
		defer modules.Remove(dir)
		tree, err := modules.Export(root, "HEAD", filepath.Join(dir, "tree"))
		if err != nil {
			return err
		}
		switch {
		case *notes:
			body, err := section(tree)
			if err == nil {
				fmt.Println(body)
			}
			return err
		case *check:
			return verify(root, tree)
		default:
			return release(root, tree, dir, *dry)
		}
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func release(root string, tree *modules.Tree, dir string, dry bool) error {
	fmt.Printf("%s, %d modules\n", tree.Version, len(tree.Released))
	faults := obstacles(root, tree)
	for _, f := range faults {
		fmt.Println("in the way:", f)
	}
	if len(faults) > 0 && !dry {
		return errors.New("nothing was done")
	}
	_, changed, err := tree.Pack(dir)
	if err != nil {
		return err
	}
	for _, name := range changed {
		fmt.Println("writes", name)
	}
	all := tags(tree)
	if dry {
		for _, tag := range all {
			fmt.Println("tags", tag)
		}
		if len(faults) > 0 {
			return fmt.Errorf("dry run; %d things are in the way", len(faults))
		}
		fmt.Println("dry run: nothing was done")
		return nil
	}
	if err := commit(root, tree, changed); err != nil {
		return err
	}
	for _, tag := range all {
		if _, err := modules.Git(root, "tag", "--annotate", "--message", tag, tag); err != nil {
			return err
		}
		fmt.Println("tagged", tag)
	}
	// GitHub starts no workflow for tags if more than three are pushed at once, and
	// the workflow release wants all of them: so the one it waits for comes last.
	last := len(all) - 1
	fmt.Printf("Publish it with\n\n\tgit push --atomic origin HEAD %s &&\n\tgit push origin %s\n", strings.Join(all[:last], " "), all[last])
	return nil
}

// obstacles tells what forbids a release of the commit.
func obstacles(root string, tree *modules.Tree) []error {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if out, err := modules.Git(root, "status", "--porcelain"); err != nil {
		faults = append(faults, err)
	} else if out != "" {
		add("the tree has changes that are not committed:\n%s", strings.TrimRight(out, "\n"))
	}
	if !semver.IsValid(tree.Version) || semver.Canonical(tree.Version) != tree.Version {
		add("the version %s of backends.yaml is not vMAJOR.MINOR.PATCH", tree.Version)
	} else if semver.Compare(tree.Version, "v2.0.0") >= 0 {
		add("from v2 on the paths of modules end in the major version; they do not yet")
	}
	if last, err := modules.LastRelease(root); err != nil {
		faults = append(faults, err)
	} else if last != "" && semver.Compare(tree.Version, last) <= 0 {
		add("%s is not above the last release, %s; set the version in backends.yaml and run the generator", tree.Version, last)
	}
	for _, tag := range tags(tree) {
		if out, err := modules.Git(root, "tag", "--list", tag); err != nil {
			faults = append(faults, err)
		} else if out != "" {
			add("the tag %s exists", tag)
		}
	}
	if _, err := section(tree); err != nil {
		faults = append(faults, err)
	}
	for _, check := range [][]string{{"gen", "run", ".", "-check"}, {".", "run", "./tools/apicheck"}} {
		cmd := exec.Command("go", check[1:]...)
		cmd.Dir = filepath.Join(root, check[0])
		if out, err := cmd.CombinedOutput(); err != nil {
			add("go %s: %w\n%s", strings.Join(check[1:], " "), err, out)
		}
	}
	return faults
}

var heading = regexp.MustCompile(`(?m)^## (v\S+)(?: \((.*)\))?$`)

// section is what the changelog says about the version.
func section(tree *modules.Tree) (string, error) {
	text, err := os.ReadFile(filepath.Join(tree.Dir, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	all := heading.FindAllSubmatchIndex(text, -1)
	for i, m := range all {
		if string(text[m[2]:m[3]]) != tree.Version {
			continue
		}
		end := len(text)
		if i+1 < len(all) {
			end = all[i+1][0]
		}
		body := strings.TrimSpace(string(text[m[1]:end]))
		if body == "" {
			return "", fmt.Errorf("CHANGELOG.md says nothing about %s", tree.Version)
		}
		if m[4] < 0 || !regexp.MustCompile(`^\d{4}-\d\d-\d\d$`).Match(text[m[4]:m[5]]) {
			return body, fmt.Errorf("CHANGELOG.md needs the date of the release: ## %s (YYYY-MM-DD)", tree.Version)
		}
		return body, nil
	}
	return "", fmt.Errorf("CHANGELOG.md has no section ## %s (YYYY-MM-DD)", tree.Version)
}

// verify reports the tags that HEAD lacks.
func verify(root string, tree *modules.Tree) error {
	out, err := modules.Git(root, "tag", "--points-at", "HEAD")
	if err != nil {
		return err
	}
	has := strings.Fields(out)
	var faults []error
	for _, tag := range tags(tree) {
		if !slices.Contains(has, tag) {
			faults = append(faults, fmt.Errorf("HEAD has no tag %s", tag))
		}
	}
	if len(faults) == 0 {
		fmt.Printf("HEAD has the tags of all %d modules at %s\n", len(tree.Released), tree.Version)
	}
	return errors.Join(faults...)
}

// tags of a release; that of core is the last one.
func tags(tree *modules.Tree) []string {
	var out []string
	for _, path := range tree.Released {
		if path != "core" {
			out = append(out, path+"/"+tree.Version)
		}
	}
	return append(out, "core/"+tree.Version)
}

// commit takes the changed files over from the written-out tree.
func commit(root string, tree *modules.Tree, changed []string) error {
	if len(changed) == 0 {
		return nil
	}
	for _, name := range changed {
		text, err := os.ReadFile(filepath.Join(tree.Dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, filepath.FromSlash(name)), text, 0o644); err != nil {
			return err
		}
	}
	if _, err := modules.Git(root, append([]string{"add", "--"}, changed...)...); err != nil {
		return err
	}
	_, err := modules.Git(root, "commit", "--quiet", "--message", "Release "+tree.Version)
	return err
}
