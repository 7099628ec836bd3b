package multilock

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits on names and metadata, equal on all backends.
const (
	MaxNameLength    = 255  // bytes in a group or participant
	MaxMetadata      = 100  // entries
	MaxMetadataKey   = 255  // bytes in a key
	MaxMetadataValue = 4000 // bytes in a value
)

// MaxTTL is the longest time-to-live of a term on backends that name no limit of
// their own, and the longest of the other times that are measured against it.
const MaxTTL = 24 * time.Hour

const (
	allowedName       = "must be 1 to 255 characters of A-Z a-z 0-9 _ . - and neither \".\" nor \"..\""
	quotedValueLength = 64 // how much of a bad value an error shows
)

// validName is the reason why a name may be used as a file name, key or column
// value: anything that could escape a key space is refused here, before any I/O.
func validName(s string) bool {
	if len(s) == 0 || len(s) > MaxNameLength || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}

func checkName(field, s string) error {
	if validName(s) {
		return nil
	}
	return &InvalidError{Field: field, Value: quote(s), Allowed: allowedName}
}

func quote(s string) string {
	if len(s) > quotedValueLength {
		return fmt.Sprintf("%q... (%d bytes)", s[:quotedValueLength], len(s))
	}
	return fmt.Sprintf("%q", s)
}

func checkMetadata(field string, m map[string]string) error {
	if len(m) > MaxMetadata {
		return &InvalidError{Field: field, Value: fmt.Sprintf("%d entries", len(m)), Allowed: fmt.Sprintf("at most %d entries", MaxMetadata)}
	}
	for k, v := range m {
		if strings.TrimSpace(k) == "" || len(k) > MaxMetadataKey || !validText(k) {
			return &InvalidError{Field: field + " key", Value: quote(k), Allowed: fmt.Sprintf("must be 1 to %d bytes of valid UTF-8 without NUL, not blank", MaxMetadataKey)}
		}
		if len(v) > MaxMetadataValue || !validText(v) {
			return &InvalidError{Field: fmt.Sprintf("%s[%q]", field, k), Value: fmt.Sprintf("%d bytes", len(v)), Allowed: fmt.Sprintf("must be at most %d bytes of valid UTF-8 without NUL", MaxMetadataValue)}
		}
	}
	return nil
}

// validText refuses what some stores cannot keep: PostgreSQL has no NUL, JSON no
// broken UTF-8.
func validText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
