package conformance

import (
	"flag"
	"os"
	"regexp"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the files this package keeps in step with its code")

// TestListing keeps rules.txt, which the generator reads, in step with the rules.
func TestListing(t *testing.T) {
	if *update {
		if err := os.WriteFile("rules.txt", []byte(Listing()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("rules.txt")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Listing() {
		t.Errorf("rules.txt differs from the rules; run: go test -run TestListing -update ./conformance")
	}
}

func TestRulesAreComplete(t *testing.T) {
	id := regexp.MustCompile(`^[A-Z]{3,4}(-[a-z0-9]+)+$`)
	seen := map[string]bool{}
	for _, r := range Rules() {
		if !id.MatchString(r.ID) || seen[r.ID] {
			t.Errorf("rule ID %q is malformed or used twice", r.ID)
		}
		seen[r.ID] = true
		if r.Title == "" || r.Promise == "" || r.body == nil {
			t.Errorf("rule %s lacks a title, a promise or a body", r.ID)
		}
	}
}
