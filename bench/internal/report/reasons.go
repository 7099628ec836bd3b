package report

import "github.com/multilock/multilock-go/bench/internal/measure"

// reasons say why another library can be better. They are printed only where a
// run finds that it is. Empty fields fit anything; the first that fits counts.
var reasons = []struct{ section, store, library, text string }{}

func reason(r measure.Row) string {
	fits := func(want, is string) bool { return want == "" || want == is }
	for _, x := range reasons {
		if fits(x.section, r.Section) && fits(x.store, r.Store) && fits(x.library, r.Library) {
			return x.text
		}
	}
	return "not explained yet."
}
