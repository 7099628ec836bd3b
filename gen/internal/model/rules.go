package model

import (
	"go/token"
	"strings"

	"github.com/multilock/multilock-go/gen/internal/spec"
)

// Rule is one rule of the conformance kit.
type Rule struct {
	ID, GoName, Title string
}

// ParseRules reads the kit's rules.txt: a line for each rule with ID, Go name,
// flags and title, separated by tabs.
func ParseRules(file string, data []byte) ([]Rule, error) {
	faults := spec.Faults{File: file}
	var out []Rule
	seen := map[string]int{}
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 4 || f[0] == "" || f[1] == "" || !token.IsIdentifier("Test"+f[1]) {
			faults.Add(i+1, "%q is not a rule; allowed: ID, Go name, flags and title, separated by tabs", line)
			continue
		}
		if first, dup := seen[f[1]]; dup {
			faults.Add(i+1, "rule %s has the Go name of line %d", f[0], first)
		}
		seen[f[1]] = i + 1
		out = append(out, Rule{ID: f[0], GoName: f[1], Title: f[3]})
	}
	return out, faults.Err()
}
