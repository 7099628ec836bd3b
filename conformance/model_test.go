package conformance

import (
	"testing"
	"time"

	"github.com/multilock/multilock-go/conformance/internal/model"
	"github.com/multilock/multilock-go/core/driver"
)

// modelHarness has every power a store in this process can have.
func modelHarness(bug model.Bug) func(TB) Harness { return electorHarness(bug, newElector) }

// electorHarness is modelHarness with other electors.
func electorHarness(bug model.Bug, construct newElectorFunc) func(TB) Harness {
	return func(tb TB) Harness {
		s := model.New(bug)
		return Harness{
			Name:       "model",
			newElector: construct,
			TTL:        2 * time.Second,
			NewDriver: func(TB) (driver.Driver, driver.Info) {
				return s.Open(), model.Info()
			},
			NewLinked: func(TB) (driver.Driver, driver.Info, Link) {
				d := s.Open()
				return d, model.Info(), modelLink{d.Link()}
			},
			LockRecord:    func(_ TB, group string) func() { return s.Lock(group) },
			RemoveRecord:  func(_ TB, group string) { s.Remove(group) },
			CorruptRecord: func(_ TB, group string) { s.Corrupt(group) },
			SetToken:      func(_ TB, group string, token uint64) { s.SetToken(group, token) },
			Age:           func(_ TB, group string, d time.Duration) { s.Age(group, d) },
			EndSession:    func(_ TB, d driver.Driver) { s.EndSession(d.(*model.Driver)) },
			StepClock:     func(_ TB, d time.Duration) { s.Step(d) },
			Restart:       func(TB) { s.Restart() },
			LoseData:      func(TB) { s.LoseData() },
			Snapshot: func(TB) func(TB) {
				restore := s.Snapshot()
				return func(TB) { restore() }
			},
			ManualClock: func(TB) (func(time.Duration), time.Duration) { return s.Freeze(), model.Tick },
			Requests:    s.Requests,
			Missing: map[Power]string{
				PowerProcess: "the model lives in this process",
				PowerChecker: "the kit's own module has no dependencies; porcupinecheck runs it over the model",
			},
		}
	}
}

// modelLink gives the model's link the kit's types.
type modelLink struct{ *model.Link }

func (l modelLink) Blackhole(d Direction) { l.Link.Blackhole(int(d)) }

// muted is a TB that takes failures without failing the test.
type muted struct {
	*testing.T
	failures []string
}

func (m *muted) Errorf(string, ...any) { m.failures = append(m.failures, "failed") }
func (m *muted) Logf(string, ...any)   {}
