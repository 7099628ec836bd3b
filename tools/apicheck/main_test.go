package main

import "testing"

func TestNext(t *testing.T) {
	for v, want := range map[string]string{"v0.1.0": "v0.2.0", "v0.9.3": "v0.10.0", "v1.4.2": "v2.0.0"} {
		if got := next(v); got != want {
			t.Errorf("after %s users may be broken by %s, want %s", v, got, want)
		}
	}
}
