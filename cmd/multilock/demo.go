package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// candidates is how many processes the demonstration starts.
const candidates = 5

func demoCommand() *cobra.Command {
	d := &demo{began: time.Now(), heard: make(chan heard, 64)}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show an election between five real processes",
		Long: `Show an election between five real processes: one leads, is asked to stop, the
next is killed (SIGKILL), the next is frozen (SIGSTOP) and thawed. At the end a
table of all terms says how long each handover took and whether any two
overlapped; then the exit status is 1.

Without --backend it needs no server: it uses files in a temporary directory.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			f, ok := d.out.(*os.File)
			d.color = ok && term.IsTerminal(int(f.Fd()))
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.url, "backend", "", "URL of the store (default: files in a temporary directory)")
	cmd.Flags().DurationVar(&d.ttl, "ttl", 3*time.Second, "time-to-live of the leadership")
	cmd.Flags().StringVar(&d.group, "group", "", "the election (default: one of its own)")
	return cmd
}

// demo is one demonstration.
type demo struct {
	url, group string
	ttl        time.Duration
	out        io.Writer
	color      bool
	began      time.Time
	heard      chan heard
	procs      map[string]*proc
	terms      []*termSeen
}

// proc is a candidate's process.
type proc struct {
	id     string
	cmd    *exec.Cmd
	out    chan struct{} // closed when it has ended
	ending bool          // it was told to end
}

// heard is a report and who sent it.
type heard struct {
	from *proc
	report
}

// termSeen is a row of the table.
type termSeen struct {
	leader   string
	token    uint64
	from     time.Time
	last     time.Time // the last instant in which it believed
	how      string    // what ended it
	asked    time.Time // when that was done
	handover time.Duration
}

func (d *demo) say(style, format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if d.color && style != "" {
		line = "\x1b[" + style + "m" + line + "\x1b[0m"
	}
	fmt.Fprintf(d.out, "%6.2fs  %s\n", time.Since(d.began).Seconds(), line)
}

const (
	good = "1;32"
	done = "33"
)

// run plays the demonstration.
func (d *demo) run(ctx context.Context) error {
	limit := 38 * time.Second
	if d.ttl > 3*time.Second {
		limit += 8 * (d.ttl - 3*time.Second)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the demonstration did not finish within %v", limit))
	defer cancel()
	if d.url == "" {
		dir, err := os.MkdirTemp("", "multilock-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		d.url = "file://" + dir
	}
	if d.group == "" {
		d.group = fmt.Sprintf("demo-%d", os.Getpid())
	}
	b, err := openURL(ctx, d.url) // say what is wrong once, not five times
	if err != nil {
		return err
	}
	if err := b.Close(ctx); err != nil {
		return err
	}
	d.say("", "%d candidates, one process each, TTL %v", candidates, d.ttl)
	d.procs = make(map[string]*proc)
	defer d.killAll()
	for i := range candidates {
		if err := d.start(ctx, fmt.Sprintf("candidate-%d", i+1)); err != nil {
			return err
		}
	}
	if err := d.play(ctx); err != nil {
		return err
	}
	return d.table()
}

func (d *demo) start(ctx context.Context, id string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p := &proc{id: id, out: make(chan struct{})}
	p.cmd = exec.Command(self, "candidate", "--backend", d.url, "--group", d.group, "--id", id, "--ttl", d.ttl.String())
	ownGroup(p.cmd)
	p.cmd.Stderr = os.Stderr
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	d.procs[id] = p
	go func() {
		defer close(p.out)
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			h := heard{from: p}
			if json.Unmarshal(lines.Bytes(), &h.report) == nil {
				select {
				case d.heard <- h:
				case <-ctx.Done():
				}
			}
		}
		_ = p.cmd.Wait() // a killed one ends with an error, as it should
		select {
		case d.heard <- heard{from: p, report: report{Event: "exited", Cause: p.cmd.ProcessState.String()}}:
		case <-ctx.Done():
		}
	}()
	return nil
}

func (d *demo) killAll() {
	for _, p := range d.procs {
		d.kill(p)
		for gone := false; !gone; {
			select {
			case <-p.out:
				gone = true
			case <-d.heard: // it may wait to be heard
			}
		}
	}
}

func (d *demo) kill(p *proc) {
	p.ending = true
	killGroup(p.cmd)
}

// next waits for the next report; a nil channel waits without a limit of its own.
func (d *demo) next(ctx context.Context, until <-chan time.Time) (h heard, ok bool, err error) {
	select {
	case h := <-d.heard:
		if h.Event == "exited" && !h.from.ending {
			return heard{}, false, fmt.Errorf("%s ended: %s", h.from.id, h.Cause)
		}
		d.note(h)
		return h, true, nil
	case <-until:
		return heard{}, false, nil
	case <-ctx.Done():
		return heard{}, false, context.Cause(ctx)
	}
}

// note keeps what a candidate reports.
func (d *demo) note(h heard) {
	switch h.Event {
	case "leading":
		t := &termSeen{leader: h.from.id, token: h.Token, from: h.From, last: h.Last}
		after := ""
		if n := len(d.terms); n > 0 && !d.terms[n-1].asked.IsZero() {
			t.handover = t.from.Sub(d.terms[n-1].asked)
			after = fmt.Sprintf(", %s later", round(t.handover))
		}
		d.terms = append(d.terms, t)
		d.say(good, "%s leads with token %d%s", t.leader, t.token, after)
	case "ended":
		for _, t := range d.terms {
			if t.token == h.Token {
				t.last = h.Last
			}
		}
	}
}

func round(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}

// leads waits until a term beyond the first n begins, and then for a while.
func (d *demo) leads(ctx context.Context, n int) (*termSeen, *proc, error) {
	for len(d.terms) <= n {
		if _, _, err := d.next(ctx, nil); err != nil {
			return nil, nil, err
		}
	}
	for pause := time.After(1500 * time.Millisecond); ; {
		if _, ok, err := d.next(ctx, pause); err != nil {
			return nil, nil, err
		} else if !ok {
			break
		}
	}
	t := d.terms[len(d.terms)-1]
	return t, d.procs[t.leader], nil
}

// play stops, kills and freezes one leader after the other.
func (d *demo) play(ctx context.Context) error {
	t, p, err := d.leads(ctx, 0)
	if err != nil {
		return err
	}
	t.how, t.asked = "stopped politely", time.Now()
	d.say(done, "%s is asked to stop (SIGTERM)", t.leader)
	p.ending = true
	if err := politely(p.cmd.Process); err != nil {
		return err
	}

	if t, p, err = d.leads(ctx, len(d.terms)); err != nil {
		return err
	}
	t.how, t.asked = "killed", time.Now()
	d.say(done, "%s is killed (SIGKILL)", t.leader)
	t.last = time.Now() // it cannot tell; a successor may lead before the call returns
	d.kill(p)

	if t, p, err = d.leads(ctx, len(d.terms)); err != nil {
		return err
	}
	if canFreeze {
		t.how, t.asked = "frozen", time.Now()
		d.say(done, "%s is frozen (SIGSTOP); its lease has to run out", t.leader)
		if err := freeze(p.cmd.Process); err != nil {
			return err
		}
		frozen, token := p, t.token
		if t, p, err = d.leads(ctx, len(d.terms)); err != nil {
			return err
		}
		d.say(done, "%s is thawed (SIGCONT)", frozen.id)
		if err := thaw(frozen.cmd.Process); err != nil {
			return err
		}
		for {
			h, _, err := d.next(ctx, nil)
			if err != nil {
				return err
			}
			if h.Event == "ended" && h.Token == token {
				d.say("", "%s finds itself deposed: %s", frozen.id, h.Cause)
				break
			}
		}
	}
	t.how, t.asked = "end of the demonstration", time.Now()
	for _, p := range d.procs {
		if p != d.procs[t.leader] {
			d.kill(p) // nobody shall follow
			<-p.out
		}
	}
	p.ending = true
	if err := politely(p.cmd.Process); err != nil {
		return err
	}
	for {
		h, _, err := d.next(ctx, nil)
		if err != nil {
			return err
		}
		if h.Event == "ended" && h.Token == t.token {
			return nil
		}
	}
}

// errOverlap is what the demonstration exists to show not to happen.
var errOverlap = errors.New("two terms overlapped")

// table prints all terms and judges them.
func (d *demo) table() error {
	fmt.Fprintf(d.out, "\n%-13s %-20s %10s %10s  %-25s %s\n", "leader", "token", "from", "to", "ended by", "next leader after")
	var err error
	for i, t := range d.terms {
		after := ""
		if i+1 < len(d.terms) {
			next := d.terms[i+1]
			after = round(next.handover).String()
			if !next.from.After(t.last) {
				after += "  OVERLAP"
				err = errOverlap
			}
			if next.token <= t.token {
				after += "  TOKEN WENT BACK"
				err = errors.New("a token did not increase")
			}
		}
		fmt.Fprintf(d.out, "%-13s %-20d %9.2fs %9.2fs  %-25s %s\n", t.leader, t.token,
			t.from.Sub(d.began).Seconds(), t.last.Sub(d.began).Seconds(), t.how, after)
	}
	if err == nil {
		fmt.Fprintf(d.out, "\nNo two terms overlapped, and every token is greater than the one before.\n")
	}
	return err
}
