//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/bench/internal/child"
	"github.com/multilock/multilock-go/bench/internal/measure"
	"github.com/multilock/multilock-go/bench/internal/report"
	"github.com/multilock/multilock-go/bench/internal/rival"
	"github.com/multilock/multilock-go/bench/internal/section"
	"github.com/multilock/multilock-go/bench/internal/store"
)

func main() {
	if os.Getenv(child.Env) != "" {
		child.Main()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	section.Options
	stores, sections []string
	out, write, from string
	profile          string
}

func parse(args []string, errOut io.Writer) (config, error) {
	c := config{}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errOut)
	quick := f.Bool("quick", false, "smaller numbers, a few minutes")
	stores := f.String("stores", "", "stores, with commas between: "+strings.Join(store.Names(), ", ")+" (default all)")
	sections := f.String("sections", "", "sections, with commas between: "+strings.Join(sectionNames(), ", ")+" (default all)")
	rounds := f.Int("rounds", 0, "rounds in which the libraries take turns (default 5; quick 3)")
	handovers := f.Int("handovers", 0, "handovers of each library and case (default 200; quick 30)")
	candidates := f.String("candidates", "", "candidates of a handover (default 2,50; quick 2,10)")
	clients := f.String("clients", "1,16", "clients that acquire and resign")
	kills := f.Int("kills", 0, "processes killed for each library (default 3; quick 1)")
	dead := f.Int("dead", 0, "handovers of each library and round past a dead candidate (default 2; quick 1)")
	groups := f.Int("groups", 0, "groups that a killed process leads (default 100; quick 20)")
	followers := f.String("followers", "", "followers of one leader (default 1,10,100; quick 1,10)")
	scale := f.String("scale", "", "groups of one process (default 1,100,1000,10000; quick 1,100,1000)")
	window := f.Duration("window", 0, "how long requests of many groups are counted (default 14s; quick 7s)")
	windows := f.Int("windows", 0, "how often requests of a leader and its followers are counted, each time for three TTLs (default 3; quick 1)")
	ttl := f.Duration("ttl", 10*time.Second, "time-to-live, raised to the least that a store can do")
	f.StringVar(&c.out, "out", "", "directory for report.md, results.json and the plots")
	f.StringVar(&c.write, "write", "", "document whose tables are renewed, such as docs/performance.md")
	f.StringVar(&c.from, "from", "", "results.json of an earlier run, to report it again instead of measuring")
	f.StringVar(&c.profile, "cpuprofile", "", "file for a CPU profile of this process")
	if err := f.Parse(args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	full := section.Options{
		Rounds: 5, Handovers: 200, Candidates: []int{2, 50}, CycleTime: time.Second, Kills: 3, Groups: 100, Dead: 2,
		Window: 14 * time.Second, Windows: 3, Followers: []int{1, 10, 100}, Scale: []int{1, 100, 1000, 10000},
	}
	if *quick {
		full = section.Options{
			Rounds: 3, Handovers: 30, Candidates: []int{2, 10}, CycleTime: 300 * time.Millisecond, Kills: 1, Groups: 20, Dead: 1,
			Window: 7 * time.Second, Windows: 1, Followers: []int{1, 10}, Scale: []int{1, 100, 1000},
		}
	}
	c.Options = full
	c.TTL, c.Subscribers = *ttl, 1000
	for _, n := range []struct{ to, from *int }{
		{&c.Rounds, rounds}, {&c.Handovers, handovers}, {&c.Kills, kills}, {&c.Groups, groups}, {&c.Dead, dead}, {&c.Windows, windows},
	} {
		if *n.from < 0 {
			return c, fmt.Errorf("%d is not a number of anything", *n.from)
		}
		if *n.from > 0 {
			*n.to = *n.from
		}
	}
	if *window > 0 {
		c.Window = *window
	}
	var errs []error
	for _, l := range []struct {
		to    *[]int
		from  string
		least int
	}{{&c.Candidates, *candidates, 2}, {&c.Clients, *clients, 1}, {&c.Followers, *followers, 1}, {&c.Scale, *scale, 1}} {
		if l.from != "" {
			list, err := numbers(l.from, l.least)
			*l.to, errs = list, append(errs, err)
		}
	}
	if c.TTL < time.Second {
		errs = append(errs, fmt.Errorf("-ttl %v: it must be at least 1s", c.TTL))
	}
	var err error
	c.stores, err = words(*stores, store.Names())
	errs = append(errs, err)
	c.sections, err = words(*sections, sectionNames())
	return c, errors.Join(append(errs, err)...)
}

func numbers(list string, least int) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < least {
			return nil, fmt.Errorf("%q: want numbers from %d with commas between", list, least)
		}
		out = append(out, n)
	}
	return out, nil
}

// words are those of list, or all if it is empty, in the order of all.
func words(list string, all []string) ([]string, error) {
	if list == "" {
		return all, nil
	}
	wanted := strings.Split(list, ",")
	for i, w := range wanted {
		wanted[i] = strings.TrimSpace(w)
		if !slices.Contains(all, wanted[i]) {
			return nil, fmt.Errorf("%q is none of %s", wanted[i], strings.Join(all, ", "))
		}
	}
	var out []string
	for _, name := range all {
		if slices.Contains(wanted, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

func sectionNames() []string {
	var out []string
	for _, s := range report.Sections {
		out = append(out, s.Name)
	}
	return out
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	c, err := parse(args, log)
	if err != nil {
		return err
	}
	if c.from != "" {
		text, err := os.ReadFile(c.from)
		if err != nil {
			return err
		}
		var earlier measure.Run
		if err := json.Unmarshal(text, &earlier); err != nil {
			return fmt.Errorf("%s: %w", c.from, err)
		}
		return c.report(&earlier, out)
	}
	if c.profile != "" {
		f, err := os.Create(c.profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	result := &measure.Run{
		Started: time.Now(), Command: strings.TrimSpace("go run ./bench " + strings.Join(args, " ")),
		Machine: machine(ctx), Servers: map[string]string{}, Libraries: map[string]string{}, Options: options(c.Options),
	}
	b := &section.Bench{Options: c.Options, Run: result, Log: log}
	defer func() {
		for _, s := range b.Stores {
			s.Close()
		}
	}()
	start(b, c.stores)
	if len(b.Stores) == 0 {
		return errors.New("none of the stores could be started:\n" + report.Gaps(result))
	}
	for _, s := range b.Stores {
		select {
		case <-time.After(time.Until(s.Settled)):
		case <-ctx.Done():
		}
	}
	for _, name := range c.sections {
		measureSection(ctx, b, name) // after an interrupt it only notes what it would have measured
	}
	result.Machine.LoadAfter = loadAverage()
	result.Took = time.Since(result.Started)
	if len(result.Rows) == 0 {
		return errors.New("nothing was measured:\n" + report.Gaps(result))
	}
	if err := c.report(result, out); err != nil {
		return err
	}
	if ctx.Err() != nil { // what was measured before is reported
		return section.ErrInterrupted
	}
	return nil
}

func (c config) report(r *measure.Run, out io.Writer) error {
	if c.out != "" {
		if err := report.Write(r, c.out); err != nil {
			return err
		}
	}
	if c.write != "" {
		if err := report.Update(r, c.write); err != nil {
			return err
		}
	}
	_, err := io.WriteString(out, report.Text(r))
	return err
}

// start starts the stores. One that cannot be started is noted.
func start(b *section.Bench, names []string) {
	for _, name := range names {
		s, err := store.Start(name)
		if err != nil {
			b.Gap(err, "everything on %s", store.Title(name))
			continue
		}
		b.Stores = append(b.Stores, s)
		b.Run.Servers[s.Title] = s.Version
		for _, r := range rival.On(name) {
			if r.Module != "" {
				b.Run.Libraries[r.Library] = store.LibraryVersion(r.Module)
			}
		}
	}
}

func measureSection(ctx context.Context, b *section.Bench, name string) {
	measures := map[string]func(context.Context){
		section.Handover: b.Handovers, section.Dead: b.DeadCandidates, section.Takeover: b.Takeovers, section.Cycle: b.Cycles, section.Load: b.Loads,
		section.Scale: b.Scales, section.Startup: b.Startups, section.Calls: b.InProcess,
	}
	measures[name](ctx)
}

func options(o section.Options) []measure.Figure {
	return []measure.Figure{
		{Name: "rounds", Value: float64(o.Rounds)}, {Name: "TTL s", Value: o.TTL.Seconds()},
		{Name: "cycles s", Value: o.CycleTime.Seconds()}, {Name: "kills", Value: float64(o.Kills)},
		{Name: "groups of a killed leader", Value: float64(o.Groups)}, {Name: "window s", Value: o.Window.Seconds()},
		{Name: "windows of three TTLs", Value: float64(o.Windows)}, {Name: "handovers past a dead candidate in a round", Value: float64(o.Dead)},
	}
}
