//go:build unix

// Package section measures: each section of the report has a file here.
package section

import (
	"context"
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
	// Window is how long requests at the store are counted.
	Window    time.Duration
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
	return measure.Row{Section: section, Store: s.Title, Case: c, Library: r.Library, Ours: r.Ours, Note: r.Note}
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
