package conformancetest

import "github.com/multilock/multilock-go/conformance"

func newHarness(conformance.TB) conformance.Harness        { return conformance.Harness{} }
func newClusterHarness(conformance.TB) conformance.Harness { return conformance.Harness{} }
func newPooledHarness(conformance.TB) conformance.Harness  { return conformance.Harness{} }
