package modules

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestCommandsAndLibraries(t *testing.T) {
	tree := &Tree{Dir: t.TempDir(), Released: []string{"commented", "library", "plain", "without"}}
	for name, text := range map[string]string{
		"commented/main.go": "// Command commented.\npackage main\n",
		"plain/main.go":     "package main\n",
		"library/main.go":   "// Package library has no package main in it.\npackage library\n",
		"without/other.go":  "package without\n",
	} {
		name = filepath.Join(tree.Dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := tree.Commands(); !slices.Equal(got, []string{"commented", "plain"}) {
		t.Errorf("commands: %q", got)
	}
	if got := tree.Libraries(); !slices.Equal(got, []string{"library", "without"}) {
		t.Errorf("libraries: %q", got)
	}
}
