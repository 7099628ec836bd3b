package conformancetest

import (
	"testing"

	"github.com/multilock/multilock-go/conformance"
)

// TestMain writes the report. There are no child processes: the store lives in one.
func TestMain(m *testing.M) { conformance.Main(m, nil) }
