//go:build linux

package file

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestRaceOfProcesses: many processes churn, some are killed or stopped. The
// times they believed do not overlap, and tokens follow the order of the terms.
func TestRaceOfProcesses(t *testing.T) {
	dir := t.TempDir()
	const ttl = 200 * time.Millisecond
	var h history
	started := 0
	start := func() *racer {
		started++
		r := &racer{child: startChild(t, "churn", dir, "g", fmt.Sprintf("p%d", started), ttl.String()), done: make(chan struct{})}
		go func() {
			defer close(r.done)
			for line := range r.lines {
				h.take(t, r, strings.Fields(line))
			}
		}()
		return r
	}
	racers := make([]*racer, 6)
	for i := range racers {
		racers[i] = start()
	}
	end := func(r *racer) {
		at := boot()
		r.kill()
		<-r.done
		h.died(r, at)
	}
	for began := time.Now(); time.Since(began) < 6*time.Second || h.count() < enoughTerms && time.Since(began) < 3*patience; {
		time.Sleep(time.Duration(20+rand.IntN(80)) * time.Millisecond)
		i := rand.IntN(len(racers))
		switch rand.IntN(4) {
		case 0:
			end(racers[i])
			racers[i] = start()
		case 1:
			racers[i].signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(rand.IntN(int(2 * ttl))))
			racers[i].signal(syscall.SIGCONT)
		}
	}
	for _, r := range racers {
		end(r)
	}
	t.Logf("%d terms of %d processes", h.judge(t), started)
}

type racer struct {
	*child
	done chan struct{}
}

// belief is the time in which a participant took a term for its own.
type belief struct {
	who        any
	token      uint64
	start, end int64
}

// history collects the beliefs of many participants.
type history struct {
	mu    sync.Mutex
	terms map[uint64]*belief
}

// take understands: lead TOKEN START DEADLINE, until TOKEN DEADLINE, over TOKEN TIME.
func (h *history) take(t *testing.T, who any, f []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	token := uint64(number(t, f[1]))
	switch f[0] {
	case "lead":
		if h.terms == nil {
			h.terms = map[uint64]*belief{}
		}
		if h.terms[token] != nil {
			t.Errorf("token %d a second time", token)
		}
		h.terms[token] = &belief{who, token, number(t, f[2]), number(t, f[3])}
	case "until":
		h.terms[token].end = number(t, f[2])
	case "over":
		h.terms[token].end = min(h.terms[token].end, number(t, f[2]))
	}
}

func (h *history) died(who any, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.terms {
		if b.who == who {
			b.end = min(b.end, at)
		}
	}
}

// judge finds overlaps and returns the number of terms.
func (h *history) judge(t *testing.T) int {
	var all []*belief
	for _, b := range h.terms {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *belief) int { return cmp.Compare(a.start, b.start) })
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if a.end > b.start {
			t.Errorf("token %d was believed in for %v after token %d had begun", a.token, time.Duration(a.end-b.start), b.token)
		}
		if b.token <= a.token {
			t.Errorf("token %d after %d", b.token, a.token)
		}
	}
	if len(all) < enoughTerms {
		t.Errorf("only %d terms", len(all))
	}
	return len(all)
}

func (h *history) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.terms)
}

// TestRaceOfGoroutines: many Backends in one process, each with several electors.
func TestRaceOfGoroutines(t *testing.T) {
	const ttl = 150 * time.Millisecond
	dir := shmDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	var h history
	var wg sync.WaitGroup
	for range 12 {
		d := openIn(t, dir)
		for range 3 {
			wg.Go(func() {
				churn(ctx, d, "g", "p", ttl, func(f ...any) {
					h.take(t, "", strings.Fields(fmt.Sprintln(f...)))
				})
			})
		}
	}
	time.Sleep(4 * time.Second)
	for h.count() < enoughTerms && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	wg.Wait()
	t.Logf("%d terms", h.judge(t))
}
