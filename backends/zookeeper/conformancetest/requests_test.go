package conformancetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// idle takes what the library and the proofs of life send out of what was counted.
func idle(got map[int32]int) map[int32]int {
	delete(got, opSync)
	delete(got, opPing)
	return got
}

// A planned handover is two transactions, one of each side: neither reads before
// it. The successor's watch is set afterwards.
func TestHandoverRequests(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	sent := []*operations{newOperations(), newOperations()}
	var clients []*client
	var sinks []*sink
	for _, o := range sent {
		c, _ := w.own(o.dial)
		k, sub := c.watch()
		if err := sub.Add(within(patience), "g"); err != nil {
			t.Fatal(err)
		}
		clients, sinks = append(clients, c), append(sinks, k)
	}
	term := clients[0].win("g")
	clients[0].keeps(term)
	clients[0].keeps(term) // its watch is in force
	for i := range 6 {
		lead, next := i%2, 1-i%2
		time.Sleep(200 * time.Millisecond) // watches are set again within a moment, whoever woke
		if rec := clients[next].held("g"); rec.Nonce != term.Nonce {
			t.Fatalf("held by %+v", rec)
		}
		woken := sinks[next].woken("g")
		eventually(t, "both watches are set", func() bool { return w.watchers("g") == 2 })
		sent[lead].take()
		sent[next].take()
		clients[lead].resign(term)
		// Who has resigned follows: on a busy machine its watch is set again by now.
		if got := idle(sent[lead].take()); got[opMulti] != 1 || got[opExists] > 1 || len(got) > 1+got[opExists] {
			t.Errorf("handover %d: a resignation sent %v", i, got)
		}
		eventually(t, "the follower is woken", func() bool { return sinks[next].woken("g") > woken })
		after := clients[next].win("g")
		if after.Token <= term.Token {
			t.Fatalf("token %d after %d", after.Token, term.Token)
		}
		term = after
		eventually(t, "the watch is set", func() bool { return w.watchers("g") > 0 })
		if got := idle(sent[next].take()); got[opMulti] != 1 || got[opExists] > 1 || len(got) > 2 {
			t.Errorf("handover %d: the successor sent %v", i, got)
		}
		clients[next].keeps(term)
	}
}

// To acquire and resign over and over is two transactions each time: a term that is
// over this soon has no watch.
func TestCycleRequests(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	o := newOperations()
	a, _ := w.own(o.dial)
	a.resign(a.win("g"))
	const cycles = 20
	o.take()
	for range cycles {
		a.resign(a.win("g"))
	}
	got := idle(o.take())
	t.Logf("%d cycles: %v", cycles, got)
	if got[opMulti] != 2*cycles {
		t.Errorf("%d transactions in %d cycles", got[opMulti], cycles)
	}
	if reads := got[opGetData] + got[opExists]; reads > cycles/2 { // on a machine so busy that terms last
		t.Errorf("%d reads in %d cycles", reads, cycles)
	}
}

// A term that lasts has a watch of its own, though nobody follows the group: the
// leader hears of a record that somebody removes.
func TestLastingTermIsWatched(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a := w.open()
	k, _ := a.watch()
	term := a.win("g")
	eventually(t, "the watch is set", func() bool { return w.watchers("g") == 1 })
	if err := w.conn().Delete(w.root+"/g/lock", -1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss is told", func() bool { return k.losses(term.Nonce) == 1 })
	a.loses(term)
}

// An end that was no resignation leaves the group node as it was: what a follower
// foresaw is refused, and it reads.
func TestSuccessorOfAnExpiredTerm(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	a, b, c := w.open(), w.open(), w.open()
	k, sub := b.watch()
	if err := sub.Add(within(patience), "g"); err != nil {
		t.Fatal(err)
	}
	req := request("g")
	first, _, err := c.try(req)
	if err != nil {
		t.Fatal(err)
	}
	c.resign(first)
	term := a.win("g")
	b.held("g")
	woken := k.woken("g")
	_ = a.Close() // ends the session
	eventually(t, "woken", func() bool { return k.woken("g") > woken })
	// The nonce that resigned last is still known, and refused.
	if _, _, err := b.try(req); !errors.Is(err, driver.ErrResigned) {
		t.Fatalf("the nonce that resigned last: %v", err)
	}
	next := b.win("g")
	if next.Token <= term.Token {
		t.Fatalf("token %d after %d", next.Token, term.Token)
	}
	b.keeps(next)
	b.resign(next)
	c.win("g")
}

// Of many followers those that have lost a race look before they try, each at a
// moment of its own: an end costs a few transactions and not one for each.
func TestHerdRequests(t *testing.T) {
	t.Parallel()
	w := steadyWorld(t)
	const candidates, handovers = 20, 15
	o := newOperations()
	led := make(chan int, candidates)
	finish := make([]chan struct{}, candidates)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range candidates {
		b, _ := w.counted(o)
		t.Cleanup(func() { _ = b.Close(within(patience)) })
		e, err := multilock.New(b, multilock.Options{Group: "g", ParticipantID: fmt.Sprint("c", i)})
		if err != nil {
			t.Fatal(err)
		}
		finish[i] = make(chan struct{})
		wg.Go(func() { // who has led does not come back
			_ = e.Run(ctx, func(work context.Context, _ multilock.Term) error {
				led <- i
				select {
				case <-finish[i]:
				case <-work.Done():
				}
				return nil
			})
		})
	}
	next := func() int {
		t.Helper()
		select {
		case i := <-led:
			return i
		case <-time.After(patience):
			t.Fatal("nobody leads")
			panic("unreachable")
		}
	}
	lead := next()
	followed := func() {
		eventually(t, "all others follow", func() bool { return w.watchers("g") >= candidates-1 })
	}
	followed()
	close(finish[lead])
	lead = next() // the first race, in which all take part
	time.Sleep(200 * time.Millisecond)
	o.take()
	for range handovers {
		close(finish[lead])
		lead = next()
		time.Sleep(100 * time.Millisecond) // all others have seen who leads
	}
	got := o.take()
	t.Logf("%d handovers among %d: %v", handovers, candidates, got)
	// One resigns, and eleven follow on average. The slower the machine, the more of
	// them look before the first has been answered.
	if most := handovers * 10; got[opMulti] > most {
		t.Errorf("%d transactions for %d handovers", got[opMulti], handovers)
	}
}
