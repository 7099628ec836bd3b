package file

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// exhaustive runs every schedule in which the processes are switched, killed or
// the clock moved at most `switches` times at any of their steps; otherwise a
// process goes on, and the next one runs when it ends.
func exhaustive(switches int, s sabotage, scripts []func(p *proc)) (runs int, violation string, trace []string) {
	moves := []time.Duration{modelTTL - 1, modelTTL}
	var path []int // the choice at each step; beyond it always 0
	for {
		w := newWorld(s)
		for i, script := range scripts {
			w.start(fmt.Sprintf("p%d", i), "A", 0, script)
		}
		runs++
		current, used := 0, 0
		var options []int
		for at := 0; w.violation == ""; at++ {
			if p := w.procs[current]; p.ended || p.dead {
				current = slices.IndexFunc(w.procs, func(p *proc) bool { return !p.ended && !p.dead })
				if current < 0 {
					break
				}
			}
			n := 1
			if used < switches {
				n += len(w.procs) + len(moves) // another process; kill in place of switching to itself; the clock
			}
			options = append(options, n)
			choice := 0
			if at < len(path) {
				choice = path[at]
			} else {
				path = append(path, 0)
			}
			if choice > 0 {
				used++
			}
			switch p := choice - 1; {
			case choice == 0:
				w.procs[current].run()
			case p == current:
				w.procs[current].kill()
			case p < len(w.procs):
				current = p
			default:
				w.now += moves[p-len(w.procs)]
				w.check()
			}
		}
		if w.violation == "" {
			if err := w.newcomer(); err != nil {
				w.violation = "a newcomer is blocked: " + err.Error()
			}
		}
		w.close()
		if w.violation != "" {
			return runs, w.violation, w.trace
		}
		// The next path: count up the last choice that can be.
		path = path[:len(options)]
		i := len(path) - 1
		for ; i >= 0 && path[i]+1 >= options[i]; i-- {
		}
		if i < 0 {
			return runs, "", nil
		}
		path = path[:i+1]
		path[i]++
	}
}

func TestModelExhaustive(t *testing.T) {
	switches := *modelSwitches
	lead := func(p *proc) {
		if p.campaign(driver.NewNonce()) == nil && p.renew() == nil {
			_ = p.resign()
		}
	}
	hold := func(p *proc) {
		if p.campaign(driver.NewNonce()) == nil {
			_ = p.renew()
		}
	}
	challenge := func(p *proc) {
		for range 2 {
			if p.campaign(driver.NewNonce()) == nil {
				return
			}
		}
	}
	for name, scripts := range map[string][]func(p *proc){
		"leader resigns, challenger": {lead, challenge},
		"leader holds, challenger":   {hold, challenge},
		"two candidates":             {hold, hold},
	} {
		t.Run(name, func(t *testing.T) {
			runs, violation, trace := exhaustive(switches, sound, scripts)
			if violation != "" {
				for _, line := range trace {
					t.Log(line)
				}
				t.Fatal(violation)
			}
			t.Logf("%d schedules with at most %d switches", runs, switches)
		})
	}
}
