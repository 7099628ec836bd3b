package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	multilock "github.com/multilock/multilock-go/core"
)

// childEnv tells the test binary that it is a child, and what to do.
const childEnv = "MULTILOCK_CONFORMANCE_CHILD"

// childElector makes the elector of a child; the kit's own tests break it.
var childElector newElectorFunc = newElector

// childSpec is what a child takes part in.
type childSpec struct {
	URL         string
	Group       string
	Participant string
	TTL         time.Duration
}

// childLine is what a child says, one JSON object per line.
type childLine struct {
	Kind  string // "acquired", "write", "over", "status", "error" or "stopped"
	Token uint64
	At    int64 // wall clock, ns
	// Of "status": what the elector says, and whether the term's context is over.
	Leader, Over bool
	Text         string
}

// childMain is a candidate in a process of its own. It writes to the resource its
// parent keeps, by saying so, as long as it believes to lead. On its standard
// input "status" asks what it believes, "stop" makes it stop in order; the end of
// input ends the process.
func childMain(spec string, open OpenURL) int {
	var s childSpec
	if err := json.Unmarshal([]byte(spec), &s); err != nil || open == nil {
		fmt.Fprintln(os.Stderr, "conformance child:", err, "open:", open != nil)
		return 2
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(l childLine) {
		l.At = time.Now().UnixNano()
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(l)
	}
	fail := func(err error) int {
		say(childLine{Kind: "error", Text: err.Error()})
		return 1
	}
	b, err := open(context.Background(), s.URL)
	if err != nil {
		return fail(err)
	}
	e, err := childElector(b, multilock.Options{Group: s.Group, ParticipantID: s.Participant, HeartbeatTimeout: s.TTL, DrainTimeout: s.TTL, ElectionInterval: max(s.TTL, time.Second)})
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last struct {
		sync.Mutex
		ctx  context.Context
		term multilock.Term
	}
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			switch in.Text() {
			case "status":
				leader := e.IsLeader() // first: before anything else could notice the time
				last.Lock()
				l := childLine{Kind: "status", Token: last.term.Token, Leader: leader, Over: last.ctx == nil || last.ctx.Err() != nil}
				last.Unlock()
				say(l)
			case "stop":
				cancel()
			}
		}
		os.Exit(0) // the parent is gone
	}()
	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		last.Lock()
		last.ctx, last.term = ctx, term
		last.Unlock()
		say(childLine{Kind: "acquired", Token: term.Token})
		for ctx.Err() == nil {
			say(childLine{Kind: "write", Token: term.Token})
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Millisecond):
			}
		}
		say(childLine{Kind: "over", Token: term.Token})
		return nil
	})
	if ctx.Err() == nil {
		return fail(err)
	}
	stop, cancelStop := context.WithTimeout(context.Background(), callLimit)
	defer cancelStop()
	if err := b.Close(stop); err != nil {
		return fail(err)
	}
	say(childLine{Kind: "stopped"})
	return 0
}
