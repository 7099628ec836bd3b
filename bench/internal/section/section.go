//go:build unix

// Package section measures: each section of the report has a file here.
package section

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/store"
)

// Options are the sizes of a run.
type Options struct {
	// Rounds is how often libraries are measured in turn.
	Rounds int
	// Handovers of each library and case, over all rounds.
	Handovers  int
	Candidates []int
	// TTL of leases, where the store can do it; see TTLOn.
	TTL time.Duration
	// CycleTime is how long cycles are counted in one round.
	CycleTime time.Duration
	Clients   []int
	// Kills of a process that leads Groups groups.
	Kills, Groups int
	// Dead is how many handovers of each library have a dead candidate, in a round.
	Dead int
	// Window is how long requests of many groups are counted, and Windows how often
	// those of one.
	Window    time.Duration
	Windows   int
	Followers []int
	// Scale lists the numbers of groups of one process.
	Scale       []int
	Subscribers int
}

// Bench is a run under way. Its methods measure one section each on all stores
// and add what they find to Run.
type Bench struct {
	Options
	Stores []*store.Server
	Run    *measure.Run
	// Log gets a line for each step.
	Log io.Writer

	mu sync.Mutex
	// first lets one library at a time take the groups of a process to be killed.
	first sync.Mutex
}

func (b *Bench) say(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(b.Log, "%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

func (b *Bench) add(r measure.Row) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Run.Rows = append(b.Run.Rows, r)
}

// Gap notes that something did not run, and why.
func (b *Bench) Gap(why error, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	b.say("not measured: %s: %v", what, why)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.Run.Gaps = append(b.Run.Gaps, measure.Gap{What: what, Why: why.Error()})
}

// ErrInterrupted is why all that an interrupt cut off, or kept from beginning, is
// missing.
var ErrInterrupted = errors.New("interrupted")

// try measures one case, and reports whether that was done. If not it notes why:
// measure failed, or the run was interrupted, before or meanwhile.
func (b *Bench) try(ctx context.Context, what string, measure func() error) bool {
	var err error
	if ctx.Err() == nil {
		err = measure()
	}
	if ctx.Err() != nil { // whatever measure made of it
		err = ErrInterrupted
	}
	if err != nil {
		b.Gap(err, "%s", what)
	}
	return err == nil
}

// inTurn measures rivals in turn, round by round, and tells which of them were
// measured in all rounds; the others are noted, and have no further turn.
func (b *Bench) inTurn(ctx context.Context, rivals []rival.Rival, what func(rival.Rival) string, measure func(i int, r rival.Rival) error) []bool {
	whole := make([]bool, len(rivals))
	for round := range b.Rounds {
		for i, r := range rivals {
			if round == 0 || whole[i] {
				whole[i] = b.try(ctx, what(r), func() error { return measure(i, r) })
			}
		}
	}
	return whole
}

// setting is how clients reach a store.
func (b *Bench) setting(s *store.Server) rival.Setting {
	return rival.Setting{Store: s.Name, URL: s.URL, TTL: b.TTLOn(s.Name)}
}

// counted is setting through what counts requests.
func (b *Bench) counted(s *store.Server) rival.Setting {
	set := b.setting(s)
	set.URL = s.CountedURL
	return set
}

// TTLOn is the time-to-live on a store: Options.TTL, or the least that the store
// can do.
func (b *Bench) TTLOn(store string) time.Duration {
	least := map[string]time.Duration{"azblob": 15 * time.Second, "consul": 10 * time.Second, "zookeeper": 8 * time.Second}
	return max(b.TTL, least[store])
}

// each calls f for one store after the other.
func (b *Bench) each(f func(*store.Server)) {
	for _, s := range b.Stores {
		f(s)
	}
}

// row begins the row of a library on a store.
func row(section string, s *store.Server, r rival.Rival, c string) measure.Row {
	return measure.Row{Section: section, Store: s.Title, Case: c, Library: r.Library, Ours: r.Ours, Floor: r.Floor, Note: r.Note}
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// unique makes names of groups that no earlier measurement has used.
var (
	uniqueMu sync.Mutex
	uniqueN  int
)

func unique(word string) string {
	uniqueMu.Lock()
	defer uniqueMu.Unlock()
	uniqueN++
	return fmt.Sprintf("%s-%d", word, uniqueN)
}
