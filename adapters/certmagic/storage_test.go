package certmagiclock

import (
	"strings"
	"testing"
)

func TestEncodeKeepsNamesApart(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{
		"", "a", "A", "a-b", "a_b", "a.b", "a b", "a/b", "a-2fb", "--", "-", "issue_cert_example.com", "issue_cert_*.example.com", "ü",
		strings.Repeat("x", 150), strings.Repeat("x", 151), strings.Repeat("x", 10_000), strings.Repeat("-", 50), strings.Repeat("-", 51),
	} {
		got := encode(name)
		if len(got) > maxName || strings.ContainsFunc(got, func(r rune) bool {
			return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-", r)
		}) {
			t.Errorf("%q becomes %q", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q become %q", name, other, got)
		}
		seen[got] = name
	}
}
