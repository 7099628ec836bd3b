package conformance

import (
	"bytes"
	"runtime/pprof"
	"strings"
	"time"
)

// labelKey labels the goroutines of a rule. Labels are inherited, so a leak is
// found although other rules run at the same time.
const labelKey = "multilock-conformance-rule"

// labelled returns the stacks of the goroutines labelled with id.
func labelled(id string) []string {
	var buf bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&buf, 1); err != nil {
		return []string{"goroutine profile: " + err.Error()}
	}
	var out []string
	for _, block := range strings.Split(buf.String(), "\n\n") {
		if strings.Contains(block, `"`+labelKey+`":"`+id+`"`) {
			out = append(out, block)
		}
	}
	return out
}

// checkLeaks fails the rule if a goroutine it started is still there a while
// after everything was closed.
func (r *run) checkLeaks() {
	end := time.Now().Add(leakPatience)
	wait := time.Millisecond
	for {
		left := r.leaked()
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			r.failf("goroutines are left behind after Close:\n%s", strings.Join(left, "\n\n"))
			return
		}
		time.Sleep(wait)
		wait = min(2*wait, 200*time.Millisecond)
	}
}

func (r *run) leaked() []string {
	var out []string
stacks:
	for _, s := range labelled(r.id) {
		for _, ignore := range r.h.IgnoreGoroutines {
			if strings.Contains(s, ignore) {
				continue stacks
			}
		}
		out = append(out, s)
	}
	return out
}
