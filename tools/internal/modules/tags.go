package modules

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/mod/semver"
)

// Git runs git in the repository and returns what it printed.
func Git(repo string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = repo
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(out), nil
}

// LastRelease returns the highest version of core that is tagged in the history of
// HEAD, or nothing if none is.
func LastRelease(repo string) (string, error) {
	out, err := Git(repo, "tag", "--list", "--merged", "HEAD", "core/v*")
	if err != nil {
		return "", err
	}
	var versions []string
	for _, tag := range strings.Fields(out) {
		if v := strings.TrimPrefix(tag, "core/"); semver.IsValid(v) {
			versions = append(versions, v)
		}
	}
	if len(versions) == 0 {
		return "", nil
	}
	return slices.MaxFunc(versions, semver.Compare), nil
}
