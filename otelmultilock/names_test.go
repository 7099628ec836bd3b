package otelmultilock_test

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestTheReadmeHasEveryName compares the tables of README.md with names.go, line by
// line, in both directions.
func TestTheReadmeHasEveryName(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		want["| `"+name+"` | "+strings.TrimSpace(v.Comment.Text())+" |"] = true
		return true
	})
	if len(want) < 10 {
		t.Fatalf("only %d names in names.go", len(want))
	}
	readme, err := os.Open("README.md")
	if err != nil {
		t.Fatal(err)
	}
	defer readme.Close()
	for lines := bufio.NewScanner(readme); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		if !want[line] {
			t.Errorf("README.md has a line that is not of names.go: %s", line)
		}
		delete(want, line)
	}
	for line := range want {
		t.Errorf("README.md lacks: %s", line)
	}
}
