package simulation

import (
	"flag"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/multilock/multilock-go/core/internal/seam"
)

var (
	schedules = flag.Int("schedules", 0, "how many schedules to run; 0 means 20,000, or 300 under the race detector or -short")
	firstSeed = flag.Uint64("seed", 1, "the first seed; with -schedules 1 it replays one schedule and prints what happened")
)

// TestSchedules runs the simulation; no schedule may violate the guarantees.
func TestSchedules(t *testing.T) {
	n := *schedules
	if n == 0 {
		n = 20000
		if raceEnabled || testing.Short() {
			n = 300
		}
	}
	const shards = 2
	terms := make([]int, shards)
	t.Run("shards", func(t *testing.T) {
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for i := shard; i < n; i += shards {
					seed := *firstSeed + uint64(i)
					r := run(t, seed, seam.None)
					terms[shard] += r.terms
					if len(r.faults) > 0 {
						t.Fatalf("seed %d (replay with -run TestSchedules -seed %d -schedules 1):\n%v\n%v", seed, seed, join(r.faults), join(r.trace))
					}
					if n == 1 {
						t.Logf("seed %d: %d terms\n%s", seed, r.terms, join(r.trace))
					}
				}
			})
		}
	})
	total := 0
	for _, n := range terms {
		total += n
	}
	t.Logf("%d schedules, %d terms, no violation", n, total)
	if total < n {
		t.Errorf("only %d terms in %d schedules: the simulation does not exercise elections", total, n)
	}
}

// TestOracleNotices switches one safety rule off after the other: a check that
// cannot fail would prove nothing.
func TestOracleNotices(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault seam.Fault
	}{
		{"no margin", seam.NoMargin},
		{"belief counted from the reply", seam.AnchorAfterReply},
		{"nonce used again after its resignation", seam.ReuseNonce},
		{"late reply revives a term", seam.ReviveTerm},
	} {
		t.Run(c.name, func(t *testing.T) {
			const most = 3000
			for seed := uint64(1); seed <= most; seed++ {
				if r := run(t, seed, c.fault); len(r.faults) > 0 {
					t.Logf("noticed by seed %d: %s", seed, r.faults[0])
					return
				}
			}
			t.Errorf("%d schedules did not notice", most)
		})
	}
}

func run(t *testing.T, seed uint64, fault seam.Fault) (r result) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = simulate(seed, fault); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	})
	return r
}

func join(lines []string) string {
	out := ""
	for _, l := range lines {
		out += "  " + l + "\n"
	}
	return out
}
