package model

import (
	"strings"
	"unicode"
)

// snake turns a Go name into words joined by underscores: MinSessionTTL becomes
// min_session_ttl, AllowNetworkFS allow_network_fs.
func snake(s string) string {
	r := []rune(s)
	var b strings.Builder
	for i, c := range r {
		if i > 0 && unicode.IsUpper(c) {
			prevLower := !unicode.IsUpper(r[i-1])
			nextLower := i+1 < len(r) && unicode.IsLower(r[i+1]) && !pluralOfInitialism(r[i:])
			if prevLower || nextLower {
				b.WriteByte('_')
			}
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// pluralOfInitialism reports whether r starts with the last letter of an
// initialism in the plural, as in the L of URLs.
func pluralOfInitialism(r []rune) bool {
	return len(r) >= 2 && r[1] == 's' && (len(r) == 2 || unicode.IsUpper(r[2]))
}

// constName makes the suffix of an enum constant: "on-expiry" becomes OnExpiry.
func constName(s string) string {
	var b strings.Builder
	for _, w := range strings.FieldsFunc(s, func(c rune) bool { return c == '-' || c == '_' || c == ' ' }) {
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}
