package porcupinecheck

import (
	"testing"
	"time"

	"github.com/multilock/multilock-go/conformance"
	"github.com/multilock/multilock-go/conformance/internal/model"
	"github.com/multilock/multilock-go/core/driver"
)

func harness(bug model.Bug) func(conformance.TB) conformance.Harness {
	return func(conformance.TB) conformance.Harness {
		s := model.New(bug)
		h := conformance.Harness{
			Name: "model", TTL: 2 * time.Second, Checker: Checker{},
			NewDriver: func(conformance.TB) (driver.Driver, driver.Info) { return s.Open(), model.Info() },
			Missing:   map[conformance.Power]string{},
		}
		for _, p := range conformance.Powers() {
			if p != conformance.PowerChecker {
				h.Missing[p] = "not needed here"
			}
		}
		return h
	}
}

type muted struct{ *testing.T }

func (muted) Errorf(string, ...any) {}

// TestModel: histories of a correct store are accepted, those of broken ones are
// not.
func TestModel(t *testing.T) {
	for bug, want := range map[model.Bug]conformance.Outcome{
		model.None: conformance.Pass, model.CheckThenAct: conformance.Fail, model.LeaderAfterResign: conformance.Fail,
		model.ResignDoesNotFree: conformance.Fail, model.LeaderTokenStale: conformance.Fail,
	} {
		t.Run(string(bug), func(t *testing.T) {
			// Not in a bubble: where time stands still, everything is concurrent.
			res := conformance.Execute(muted{t}, "RACE-linearizable", harness(bug))
			if res.Outcome != want {
				t.Errorf("RACE-linearizable says %s (%s), want %s", res.Outcome, res.Why, want)
			}
		})
	}
}
