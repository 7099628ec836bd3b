//go:build linux

package file

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// childMain is the program of a participant: directory group participant TTL …
func childMain(mode string) {
	dir, group, participant := os.Args[1], os.Args[2], os.Args[3]
	ttl, err := time.ParseDuration(os.Args[4])
	if err != nil {
		panic(err)
	}
	if mode == "elector" {
		elect(dir, group, participant, ttl)
		return
	}
	x, _, err := NewDriver(Options{Directory: dir})
	if err != nil {
		panic(err)
	}
	d := x.(*fileDriver)
	switch mode {
	case "campaign":
		campaign(d, group, participant, ttl)
	case "campaign-with-child":
		if err := d.ready(context.Background(), true); err != nil {
			panic(err)
		}
		term, _, err := attempt(d, group, participant, ttl)
		if err != nil {
			panic(err)
		}
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		fmt.Println("child", cmd.Process.Pid)
		fmt.Println("lead", term.Token, boot())
		select {}
	case "stop-at":
		at, err := strconv.Atoi(os.Args[5])
		if err != nil {
			panic(err)
		}
		stopAt(d, at, group, participant, ttl)
	case "churn":
		churn(context.Background(), d, group, participant, ttl, func(f ...any) { fmt.Println(f...) })
	}
}

// elect runs an elector whose work says that it leads, and when it is over.
func elect(dir, group, participant string, ttl time.Duration) {
	ctx := context.Background()
	b, err := Open(ctx, Options{Directory: dir})
	if err != nil {
		panic(err)
	}
	e, err := multilock.New(b, multilock.Options{Group: group, ParticipantID: participant, HeartbeatTimeout: ttl})
	if err != nil {
		panic(err)
	}
	changes := e.Changes(ctx, multilock.Changed) // before the run: none is missed
	go func() {
		for c := range changes {
			if p := c.Leader.Participant; p != "" && p != participant {
				fmt.Println("following", c.Leader.Participant)
			}
		}
	}()
	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		fmt.Println("lead", term.Token, boot())
		for ctx.Err() == nil && e.IsLeader() {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("over", term.Token, context.Cause(ctx))
		<-ctx.Done()
		return nil
	})
	panic(err)
}

func attempt(d *fileDriver, group, participant string, ttl time.Duration) (driver.Term, int64, error) {
	req := request(group, participant, ttl)
	t0 := boot()
	g, err := d.Acquire(context.Background(), req)
	return driver.Term{Group: group, Participant: participant, Nonce: req.Nonce, Token: g.Token}, t0 + int64(g.Granted), err
}

type childSink struct {
	wake chan struct{}
	lost chan driver.Nonce
}

func (s childSink) Wake(string) {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s childSink) WakeAll() { s.Wake("") }

func (s childSink) Lost(_ string, n driver.Nonce) { s.lost <- n }

// campaign follows as an elector does: it sleeps until a wake-up or the expiry,
// leads, renews, and says when it has lost.
func campaign(d *fileDriver, group, participant string, ttl time.Duration) {
	s := childSink{make(chan struct{}, 1), make(chan driver.Nonce, 10)}
	sub, err := d.Watch(context.Background(), s)
	if err != nil {
		panic(err)
	}
	if err := sub.Add(context.Background(), group); err != nil {
		panic(err)
	}
	for {
		term, _, err := attempt(d, group, participant, ttl)
		if err == nil {
			fmt.Println("lead", term.Token, boot())
			beat := time.NewTicker(ttl / 3)
			for err == nil {
				select {
				case <-beat.C:
					err = renew(d, term, ttl, nil)
				case n := <-s.lost:
					if n == term.Nonce {
						err = driver.ErrLost
					}
				}
			}
			beat.Stop()
			fmt.Println("lost", term.Token, err)
			continue
		}
		var held *driver.HeldError
		if !errors.As(err, &held) {
			panic(err)
		}
		fmt.Println("following", held.Record.Participant)
		select {
		case <-s.wake:
		case <-time.After(held.Record.Remaining + time.Millisecond):
		}
	}
}

// churn leads for short and ends in different ways.
func churn(ctx context.Context, d *fileDriver, group, participant string, ttl time.Duration, say func(f ...any)) {
	for ctx.Err() == nil {
		term, deadline, err := attempt(d, group, participant, ttl)
		if err != nil {
			time.Sleep(time.Duration(rand.IntN(int(ttl / 20))))
			continue
		}
		now := boot()
		if now >= deadline {
			continue
		}
		say("lead", term.Token, now, deadline)
		for range rand.IntN(4) {
			time.Sleep(time.Duration(rand.IntN(int(ttl / 2))))
			t0 := boot()
			var r driver.RenewResult
			d.Renew(context.Background(), []driver.RenewRequest{{Term: term, TTL: ttl}}, func(x driver.RenewResult) { r = x })
			if r.Err != nil {
				break
			}
			if now := boot(); now < deadline { // as core: a late answer revives nothing
				deadline = max(deadline, t0+int64(r.Granted))
				say("until", term.Token, deadline)
			}
		}
		if rand.IntN(5) > 0 {
			say("over", term.Token, boot())
			_ = d.Resign(context.Background(), term)
		} else {
			time.Sleep(ttl)
		}
	}
}
