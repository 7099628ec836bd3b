package file

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// The model check. The protocol of lease.go and driver.go itself runs here, over
// a disk in memory on which every step of every process is a scheduling point:
// a process may be stopped there for any time, or killed. Slot writes take two
// steps, so that readers meet torn slots. Some processes live in another time
// namespace. The oracle sees all: no two processes may believe at one moment,
// tokens increase in the order of the terms, and wherever the processes were
// stopped, a newcomer gets the lease within the time it is told.

var (
	modelSchedules = flag.Int("model.schedules", 4000, "random schedules of the model check")
	modelSeed      = flag.Uint64("model.seed", 0, "run only the random schedule with this seed")
	modelSwitches  = flag.Int("model.switches", 2, "switches per schedule in the exhaustive model check")
)

const (
	modelGroup = "group"
	modelTTL   = 1000 * time.Millisecond
)

// sabotage takes a rule out of the protocol, from outside: the disk answers as
// it would have if the code did not follow the rule.
type sabotage int

const (
	sound sabotage = iota
	// noLookAfterLink: the listing after the link shows nothing above the link.
	noLookAfterLink
	// recordBeforeClock: what a challenger reads is as old as its clock, or older.
	recordBeforeClock
	// noClockAfterWrite: the clock after a renewal's write shows the time before.
	noClockAfterWrite
	// foreignTrusted: clocks of different origin bear one name.
	foreignTrusted
	// sweepAll: the two highest generations are not kept.
	sweepAll
)

type inode struct{ data []byte }

type world struct {
	now       time.Duration
	gens      map[uint64]*inode
	locks     map[string]bool // name → held
	procs     []*proc
	sabotage  sabotage
	violation string
	highest   uint64 // token
	terms     int
	trace     []string
}

func newWorld(s sabotage) *world {
	return &world{now: time.Hour, gens: map[uint64]*inode{}, locks: map[string]bool{}, sabotage: s}
}

type killed struct{}

// proc is one process: a coroutine that stops before each step on the disk.
type proc struct {
	w      *world
	name   string
	offset time.Duration // of its clock
	clock  string
	d      *fileDriver
	next   func() (string, bool)
	stop   func()
	yield  func(string) bool
	ended  bool // the script has returned
	dead   bool

	// belief, as an elector without any margin has it
	term     driver.Term
	leads    bool
	deadline time.Duration
}

// start makes a process whose script runs when it is scheduled.
func (w *world) start(name, clock string, offset time.Duration, script func(p *proc)) *proc {
	p := &proc{w: w, name: name, clock: clock, offset: offset}
	p.d = newFileDriver(&modelDisk{p: p})
	p.next, p.stop = iter.Pull(func(yield func(string) bool) {
		defer func() {
			if r := recover(); r != nil && r != (killed{}) {
				panic(r)
			}
		}()
		p.yield = yield
		script(p)
	})
	w.procs = append(w.procs, p)
	return p
}

// run lets the process make one step.
func (p *proc) run() {
	step, ok := p.next()
	if !ok {
		p.ended = true
		step = "end"
	}
	p.w.trace = append(p.w.trace, fmt.Sprintf("%v %s %s", p.w.now-time.Hour, p.name, step))
	p.w.check()
}

// kill ends the process; the kernel frees its lock.
func (p *proc) kill() {
	p.dead, p.leads = true, false
	p.w.locks[p.lockName()] = false
	p.w.trace = append(p.w.trace, fmt.Sprintf("%v %s killed", p.w.now-time.Hour, p.name))
	p.stop()
}

func (p *proc) lockName() string { return p.name }

func (w *world) check() {
	var who []string
	for _, p := range w.procs {
		if p.leads && w.now < p.deadline {
			who = append(who, p.term.String()+" of "+p.name)
		}
	}
	if len(who) > 1 && w.violation == "" {
		w.violation = fmt.Sprintf("two believe: %v", who)
	}
}

func (w *world) close() {
	for _, p := range w.procs {
		p.stop()
	}
}

// campaign makes one attempt with belief anchored before the request.
func (p *proc) campaign(nonce driver.Nonce) error {
	t0 := p.w.now
	g, err := p.d.Acquire(context.Background(), driver.AcquireRequest{
		Group: modelGroup, Participant: p.name, Nonce: nonce, TTL: modelTTL,
	})
	if err != nil {
		return err
	}
	p.term = driver.Term{Group: modelGroup, Participant: p.name, Token: g.Token, Nonce: nonce}
	p.leads, p.deadline = true, t0+g.Granted
	if p.w.now < p.deadline {
		p.w.terms++
		if g.Token <= p.w.highest {
			p.w.violation = fmt.Sprintf("token %d after %d", g.Token, p.w.highest)
		}
		p.w.highest = max(p.w.highest, g.Token)
	}
	p.w.check()
	return nil
}

func (p *proc) renew() error {
	t0 := p.w.now
	var result driver.RenewResult
	p.d.Renew(context.Background(), []driver.RenewRequest{{Term: p.term, TTL: modelTTL}},
		func(r driver.RenewResult) { result = r })
	if result.Err == nil {
		// Core lets no late answer revive a term. The driver must be right without
		// that, so this elector believes whatever it is told.
		p.deadline = max(p.deadline, t0+result.Granted)
	} else if errors.Is(result.Err, driver.ErrLost) {
		p.leads = false
	}
	p.w.check()
	return result.Err
}

func (p *proc) resign() error {
	p.leads = false
	return p.d.Resign(context.Background(), p.term)
}

// newcomer proves that nobody is blocked: a fresh process alone must get the
// lease, waiting no longer than it is told, however the others were stopped.
func (w *world) newcomer() error {
	if w.violation != "" {
		return nil
	}
	var err error
	p := w.start("newcomer", "A", 0, func(p *proc) {
		for range 6 {
			if err = p.campaign(driver.NewNonce()); err == nil {
				return
			}
			var held *driver.HeldError
			if errors.As(err, &held) {
				if held.Record.Remaining > modelTTL {
					err = fmt.Errorf("told to wait %v, more than the TTL", held.Record.Remaining)
					return
				}
				w.now += held.Record.Remaining
			}
		}
	})
	for !p.ended {
		p.run()
	}
	return err
}

// life is what a process does in a random schedule.
func life(r *rand.Rand) func(p *proc) {
	return func(p *proc) {
		nonce := driver.NewNonce()
		for range 12 {
			if p.leads {
				switch r.IntN(4) {
				case 0:
					_ = p.resign()
					nonce = driver.NewNonce()
				default:
					_ = p.renew()
				}
				continue
			}
			if err := p.campaign(nonce); errors.Is(err, driver.ErrResigned) || r.IntN(3) == 0 {
				nonce = driver.NewNonce()
			}
			if p.yield("rest"); p.dead {
				panic(killed{})
			}
		}
	}
}

// random runs one schedule. Long stops matter most, so a process that is chosen
// runs for a while, and the clock moves in large and small steps.
func random(seed uint64, s sabotage) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(s)
	n := 2 + r.IntN(3)
	for i := range n {
		clock, offset := "A", time.Duration(0)
		if r.IntN(5) == 0 {
			clock, offset = "B", 100*modelTTL
		}
		w.start(fmt.Sprintf("p%d", i), clock, offset, life(r))
	}
	for range 60 + r.IntN(200) {
		if w.violation != "" {
			break
		}
		if r.IntN(6) == 0 {
			w.now += []time.Duration{1, modelTTL / 10, modelTTL / 3, modelTTL - 1, modelTTL}[r.IntN(5)]
			w.check()
			continue
		}
		p := w.procs[r.IntN(n)]
		for range 1 + r.IntN(1+r.IntN(25)) {
			if p.ended || p.dead || w.violation != "" {
				break
			}
			p.run()
		}
		if r.IntN(120) == 0 && !p.dead {
			p.kill()
		}
	}
	return w
}

func (w *world) report(t *testing.T, how string) {
	t.Helper()
	if w.violation != "" {
		for _, line := range w.trace {
			t.Log(line)
		}
		t.Fatalf("%s: %s", how, w.violation)
	}
}

func TestModelRandom(t *testing.T) {
	first, count := uint64(1), *modelSchedules
	if *modelSeed != 0 {
		first, count = *modelSeed, 1
	} else if testing.Short() {
		count /= 10
	}
	terms := 0
	for seed := first; seed < first+uint64(count); seed++ {
		w := random(seed, sound)
		w.report(t, fmt.Sprintf("seed %d", seed))
		if err := w.newcomer(); err != nil {
			w.violation = fmt.Sprintf("a newcomer is blocked: %v", err)
		}
		w.report(t, fmt.Sprintf("seed %d", seed))
		w.close()
		terms += w.terms
	}
	t.Logf("%d schedules, %d terms, no two believed at once, no token went back, no newcomer was blocked", count, terms)
	if *modelSeed == 0 && terms < count {
		t.Errorf("only %d terms in %d schedules: the model does not exercise the protocol", terms, count)
	}
}

// TestModelSabotage shows that the oracle can see: without each rule it finds a
// schedule with two believers or a token that goes back.
func TestModelSabotage(t *testing.T) {
	for name, s := range map[string]sabotage{
		"no look after the link":           noLookAfterLink,
		"record read before the clock":     recordBeforeClock,
		"no clock after a renewal's write": noClockAfterWrite,
		"a foreign clock is trusted":       foreignTrusted,
		"the highest generation is swept":  sweepAll,
	} {
		t.Run(name, func(t *testing.T) {
			const most = 50_000
			for seed := uint64(1); seed <= most; seed++ {
				w := random(seed, s)
				w.close()
				if w.violation != "" {
					t.Logf("found with seed %d: %s", seed, w.violation)
					return
				}
			}
			t.Errorf("not found in %d schedules", most)
		})
	}
}
