package conformancetest

import (
	"testing"

	"github.com/multilock/multilock-go/conformance"
)

func TestConformance(t *testing.T) { conformance.Run(t, newHarness) }
