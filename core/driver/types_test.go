package driver_test

import (
	"strings"
	"testing"

	"github.com/multilock/multilock-go/core/driver"
)

func FuzzParseNonce(f *testing.F) {
	f.Add(driver.NewNonce().String())
	f.Fuzz(func(t *testing.T, s string) {
		n, err := driver.ParseNonce(s)
		if err == nil && !strings.EqualFold(n.String(), s) || err != nil && !n.IsZero() {
			t.Errorf("%q: %v, %v", s, n, err)
		}
	})
}
