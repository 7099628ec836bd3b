package multilock_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// open stands for what a program writes here, such as
// redis.Open(ctx, redis.Options{Addrs: []string{"localhost:6379"}}).
func open() *multilock.Backend { return multilock.NewExampleBackend() }

// The usual form: a function that runs whenever this process leads.
func Example() {
	ctx, cancel := context.WithCancel(context.Background()) // signal.NotifyContext in a program
	b := open()
	defer b.Close(context.WithoutCancel(ctx))

	e, err := multilock.New(b, multilock.Options{Group: "nightly"})
	if err != nil {
		log.Fatal(err)
	}
	err = e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
		fmt.Println("leading", term.Group)
		cancel()     // somebody stops the program
		<-ctx.Done() // the work ends with the term
		fmt.Println("done")
		return nil
	})
	fmt.Println(err)
	// Output:
	// leading nightly
	// done
	// context canceled
}

// A program that only wants to know whether it leads.
func ExampleElector_Start() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "cache-warmer", ParticipantID: "host-1"})
	if err != nil {
		log.Fatal(err)
	}
	if err := e.Start(ctx); err != nil { // a misconfiguration shows here
		log.Fatal(err)
	}
	if _, err := e.WaitForLeadership(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.IsLeader(), e.Status().State, e.Healthy())

	leader, err := e.WaitForLeader(ctx) // as a follower would
	fmt.Println(leader.Participant == e.ParticipantID(), err)

	fmt.Println(e.Stop(ctx), e.IsLeader()) // drains, resigns, and returns
	// Output:
	// true leader <nil>
	// true <nil>
	// <nil> false
}

// Start and Run in one: the work runs in the background.
func ExampleElector_StartWork() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "outbox"})
	if err != nil {
		log.Fatal(err)
	}
	leading := make(chan struct{})
	err = e.StartWork(ctx, func(ctx context.Context, term multilock.Term) error {
		close(leading)
		<-ctx.Done()
		fmt.Println("because", context.Cause(ctx))
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	<-leading
	if err := e.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: because multilock: the elector is stopped
}

// Every change, once and in order; a slow reader delays nobody.
func ExampleElector_Changes() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "billing"})
	if err != nil {
		log.Fatal(err)
	}
	seq := e.Changes(ctx, multilock.Acquired|multilock.Lost|multilock.Stopped) // before Start: nothing is missed
	if err := e.Start(ctx); err != nil {
		log.Fatal(err)
	}
	for c := range seq { // ends when the elector has stopped
		switch {
		case c.BecameLeader():
			fmt.Println("leading")
			go e.Stop(ctx)
		case c.LostLeadership():
			fmt.Println("no longer:", c.Cause)
		default:
			fmt.Println(c.Kind)
		}
	}
	// Output:
	// leading
	// no longer: multilock: the elector is stopped
	// stopped
}

// One attempt, without waiting: whoever wins works now, and the others do not.
func ExampleElector_TryAcquire() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	mine, err := multilock.New(b, multilock.Options{Group: "migration", ParticipantID: "host-1"})
	if err != nil {
		log.Fatal(err)
	}
	theirs, err := multilock.New(b, multilock.Options{Group: "migration", ParticipantID: "host-2"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(mine.TryAcquire(ctx))
	fmt.Println(theirs.TryAcquire(ctx))

	term, ok := mine.Term()
	fmt.Println(term.Participant, ok)

	fmt.Println(mine.Resign(ctx))
	// Output:
	// true <nil>
	// false <nil>
	// host-1 true
	// <nil>
}

// Who leads, as the store says; no elector is needed to ask.
func ExampleBackend_Leader() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	_, err := b.Leader(ctx, "reports")
	fmt.Println(errors.Is(err, multilock.ErrNoLeader))

	e, err := multilock.New(b, multilock.Options{
		Group: "reports", ParticipantID: "host-1", Metadata: map[string]string{"address": "10.0.0.7:8080"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := e.TryAcquire(ctx); err != nil {
		log.Fatal(err)
	}
	leader, err := e.Leader(ctx) // the same, of an elector's own group
	fmt.Println(leader.Participant, leader.Metadata["address"], err)
	// Output:
	// true
	// host-1 10.0.0.7:8080 <nil>
}

// Metadata that changes while leading is stored with the next renewal.
func ExampleElector_SetMetadata() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "ingest"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.SetMetadata(map[string]string{"queue": "12"}))
	// Output: <nil>
}

// How long nobody leads after a crash is known before it happens.
func ExampleElector_WorstCaseFailover() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "ingest", HeartbeatTimeout: 5 * time.Second, Spread: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(e.WorstCaseFailover())
	o := e.Options() // with all defaults filled in
	fmt.Println(o.HeartbeatInterval, o.Margin)
	// Output:
	// 6s
	// 1.5s 500ms
}

// What a process and its store have done with each other.
func ExampleBackend_Stats() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	if err := b.Ping(ctx); err != nil { // is the store there?
		log.Fatal(err)
	}
	fmt.Println(b.Stats().LiveTerms)
	fmt.Println(b.Info().WorstCaseExpiry(15 * time.Second)) // what the driver declares
	_, pushes := b.Driver().(driver.Watcher)
	fmt.Println(pushes)
	// Output:
	// 0
	// 15s
	// true
}

// Errors say what was done to which group, and keep the client library's own.
func ExampleOpError() {
	var err error = &multilock.OpError{Backend: "redis", Op: "renew", Group: "billing", Err: context.DeadlineExceeded}
	fmt.Println(err)
	var op *multilock.OpError
	fmt.Println(errors.As(err, &op), op.Group, errors.Is(err, context.DeadlineExceeded))
	// Output:
	// redis: renew group billing: context deadline exceeded
	// true billing true
}

// All faults of the options are told at once.
func ExampleInvalidError() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	_, err := multilock.New(b, multilock.Options{Group: "not a name"})
	var invalid *multilock.InvalidError
	fmt.Println(errors.As(err, &invalid), invalid.Field, errors.Is(err, multilock.ErrInvalid))
	// Output: true Options.Group true
}

// counts is an observer.
type counts struct{ acquired int }

func (c *counts) Observe(o multilock.Observation) {
	if o.Op == "acquire" {
		c.acquired++
	}
}

// Where log records and measurements go. Neither can delay a renewal.
func ExampleObservers() {
	ctx := context.Background()
	b := open()
	defer b.Close(ctx)
	one, two := &counts{}, &counts{}
	_, err := multilock.New(b, multilock.Options{
		Group:    "billing",
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Observer: multilock.Observers(one, two),
	})
	fmt.Println(err)
	// Output: <nil>
}
