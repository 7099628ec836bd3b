package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/multilock/multilock-go/tools/internal/modules"
)

func TestSection(t *testing.T) {
	for name, c := range map[string]struct{ log, body, fault string }{
		"good":       {"# Changelog\n\n## v0.2.0 (2027-01-31)\n\nNew.\n\n## v0.1.0 (2026-12-01)\n\nOld.\n", "New.", ""},
		"last":       {"## v0.3.0 (2027-02-01)\n\nNewer.\n\n## v0.2.0 (2027-01-31)\n\nNew.\n", "New.", ""},
		"none":       {"## v0.1.0 (2026-12-01)\n\nOld.\n", "", "no section"},
		"empty":      {"## v0.2.0 (2027-01-31)\n\n## v0.1.0 (2026-12-01)\n\nOld.\n", "", "says nothing"},
		"unreleased": {"## v0.2.0 (unreleased)\n\nNew.\n", "New.", "needs the date"},
		"dateless":   {"## v0.2.0\n\nNew.\n", "New.", "needs the date"},
	} {
		tree := &modules.Tree{Dir: t.TempDir(), Version: "v0.2.0"}
		if err := os.WriteFile(filepath.Join(tree.Dir, "CHANGELOG.md"), []byte(c.log), 0o600); err != nil {
			t.Fatal(err)
		}
		body, err := section(tree)
		if body != c.body || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
}

func TestTagOfCoreIsLast(t *testing.T) {
	all := tags(&modules.Tree{Version: "v0.2.0", Released: []string{"backends/redis", "core", "gen"}})
	if got := strings.Join(all, " "); got != "backends/redis/v0.2.0 gen/v0.2.0 core/v0.2.0" {
		t.Error(got)
	}
}
