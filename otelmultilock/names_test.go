package otelmultilock_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of README.md")

// table is the Markdown table of the constants in names.go whose names begin with
// prefix, in their order there.
func table(t *testing.T, prefix, head string) string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("| name | %s |\n| --- | --- |\n", head)
	rows := 0
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(v.Names[0].Name, prefix) {
			return true
		}
		name, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if v.Comment == nil {
			t.Fatalf("%s has no comment", v.Names[0].Name)
		}
		out += fmt.Sprintf("| `%s` | %s |\n", name, strings.TrimSpace(v.Comment.Text()))
		rows++
		return true
	})
	if rows < 5 {
		t.Fatalf("only %d names begin with %s in names.go", rows, prefix)
	}
	return out
}

// TestTheReadmeHasEveryName generates the tables of README.md from names.go and
// compares; with -update it writes them.
func TestTheReadmeHasEveryName(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	old := string(data)
	text := old
	for _, x := range []struct{ marker, prefix, head string }{{"metrics", "Metric", "what it is"}, {"attributes", "Attr", "values"}} {
		begin, end := "<!-- names:"+x.marker+" -->\n", "<!-- /names:"+x.marker+" -->"
		before, rest, ok := strings.Cut(text, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("README.md lacks the marker %s", strings.TrimSpace(begin))
		}
		text = before + begin + table(t, x.prefix, x.head) + end + after
	}
	if text == old {
		return
	}
	if !*update {
		t.Fatal("the tables of README.md are not those of names.go: go test -run TestTheReadmeHasEveryName . -update")
	}
	if err := os.WriteFile("README.md", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
