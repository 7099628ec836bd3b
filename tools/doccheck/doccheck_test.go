package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run checks one file, README.md, beside a file other.md with the heading "A part".
func run(t *testing.T, text string) []string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{"README.md": text, "other.md": "# A `part`, or *two*\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	faults, _, err := check(root, []string{"README.md"})
	if err != nil {
		t.Fatal(err)
	}
	return faults
}

func TestGood(t *testing.T) {
	text := "# One\n## One\n" +
		"[a](other.md) [b](other.md#a-part-or-two) [c](#one-1) [d](https://example.com/x) `[e](nowhere.md)`\n" +
		"```\n[f](nowhere.md)\n```\n" +
		"```go\nx, err := os.Open(\"name\")\nif err != nil {\n\treturn err\n}\n```\n" +
		"```go\nimport \"strings\"\n\nfunc f() string { return strings.ToUpper(\"a\") }\n```\n" +
		"```go\npackage main\n\nfunc main() {}\n```\n" +
		"<!-- doccheck: with\nimport \"bytes\"\nvar b *bytes.Buffer\n-->\n```go\nb.Reset()\n```\n" +
		"<!-- doccheck: skip not Go at all -->\n\n```go\n...\n```\n"
	if faults := run(t, text); len(faults) > 0 {
		t.Errorf("faults in a good file: %q", faults)
	}
}

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"missing file":      {"\n[a](nowhere.md)", "README.md:2: link to nowhere.md: there is no such file"},
		"missing reference": {"[a]: nowhere.md", "there is no such file"},
		"missing heading":   {"[a](other.md#part)", "there is no such heading"},
		"own heading":       {"# One\n[a](#two)", "there is no such heading"},
		"outside":           {"[a](../x.md)", "leads out of the repository"},
		"absolute":          {"[a](/other.md)", "write it relative"},
		"undefined":         {"x\n```go\nx := 1\nf(x)\n```", "README.md:4: undefined: f"},
		"type":              {"```go\nvar s string = 1\n```", "README.md:2: cannot use 1"},
		"syntax":            {"```go\nif {\n```", "not Go"},
		"unused in program": {"```go\npackage main\n\nimport \"os\"\n\nfunc main() {}\n```", "imported and not used"},
		"no reason":         {"<!-- doccheck: skip -->\n```go\n...\n```", "needs a reason"},
		"comment too early": {"<!-- doccheck: skip x -->\ntext\n```go\n...\n```", "not Go"},
		"home":              {"see " + "/home" + "/me/x", "a path of somebody's machine"},
	} {
		t.Run(name, func(t *testing.T) {
			faults := run(t, c.text)
			if len(faults) == 0 || !strings.Contains(strings.Join(faults, "\n"), c.want) {
				t.Errorf("faults %q, want one with %q", faults, c.want)
			}
		})
	}
}
