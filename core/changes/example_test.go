package changes_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/changes"
)

var elector *multilock.Elector // made by multilock.New

// a stands for elector.Changes(ctx, multilock.All).
var a = slices.Values([]multilock.Change{
	{Kind: multilock.Changed, Leader: multilock.Record{Term: multilock.Term{Participant: "host-2"}}},
	{Kind: multilock.Acquired, Term: multilock.Term{Group: "billing", Token: 7}},
	{Kind: multilock.Lost, Term: multilock.Term{Group: "billing", Token: 7}, Cause: multilock.ErrExpired},
	{Kind: multilock.Changed, Leader: multilock.Record{Term: multilock.Term{Participant: "host-2"}}},
	{Kind: multilock.Stopped},
})

// The helpers take sequences and return sequences.
func Example() {
	leaders := changes.Select(
		changes.Where(a, func(c multilock.Change) bool { return c.Kind == multilock.Changed }),
		func(c multilock.Change) string { return c.Leader.Participant })
	for name := range changes.DistinctUntilChanged(leaders, func(a, b string) bool { return a == b }) {
		fmt.Println(name)
	}
	// Output: host-2
}

func ExampleOnLeadershipTransition() {
	changes.OnLeadershipTransition(a,
		func(c multilock.Change) { fmt.Println("leading with token", c.Term.Token) },
		func(c multilock.Change) { fmt.Println("not leading:", c.Cause) })
	// Output:
	// leading with token 7
	// not leading: multilock: the term is lost: its deadline passed without a confirmed renewal
}

// A function that fails ends it.
func ExampleOnLeadershipTransitionErr() {
	err := changes.OnLeadershipTransitionErr(context.Background(), a,
		func(context.Context, multilock.Change) error { return errors.New("cannot open the queue") }, nil)
	fmt.Println(err)
	// Output: cannot open the queue
}

func ExampleForEach() {
	changes.ForEach(a, func(c multilock.Change) { fmt.Print(c.Kind, " ") })
	// Output: changed acquired lost changed stopped
}

func ExampleForEachErr() {
	err := changes.ForEachErr(context.Background(), a, func(_ context.Context, c multilock.Change) error {
		if c.Kind == multilock.Lost {
			return c.Cause
		}
		return nil
	})
	fmt.Println(errors.Is(err, multilock.ErrExpired))
	// Output: true
}

func ExampleTakeUntilLeader() {
	for c := range changes.TakeUntilLeader(a) {
		fmt.Println(c.Kind)
	}
	// Output:
	// changed
	// acquired
}

// What happens during one term of this elector.
func ExampleWhileLeader() {
	ctx := context.Background()
	for c := range changes.WhileLeader(elector, elector.Changes(ctx, multilock.All)) {
		fmt.Println(c.Kind)
	}
}

func ExampleTake() {
	for c := range changes.Take(a, 2) {
		fmt.Println(c.Kind)
	}
	// Output:
	// changed
	// acquired
}

func ExampleSkip() {
	for c := range changes.Skip(a, 4) {
		fmt.Println(c.Kind)
	}
	// Output: stopped
}

func ExampleBuffer() {
	for some := range changes.Buffer(a, 3) {
		fmt.Println(len(some))
	}
	// Output:
	// 3
	// 2
}

// What happened within a minute, together.
func ExampleBufferTime() {
	for some := range changes.BufferTime(a, time.Minute) {
		fmt.Println(len(some))
	}
	// Output: 5
}

// The first of a burst.
func ExampleThrottle() {
	for c := range changes.Throttle(a, time.Minute) {
		fmt.Println(c.Kind)
	}
	// Output: changed
}

// The last of a burst, once nothing more has come for a while.
func ExampleDebounce() {
	for c := range changes.Debounce(a, time.Minute) { // the end of the sequence ends the wait
		fmt.Println(c.Kind)
	}
	// Output: stopped
}

func ExampleSameTransition() {
	for c := range changes.DistinctUntilChanged(a, changes.SameTransition) {
		fmt.Print(c.Kind, " ")
	}
	// Output: changed acquired lost changed stopped
}

// A channel, for select statements.
func ExampleChan() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends the goroutine behind the channel
	ch := changes.Chan(ctx, a)
	select {
	case c := <-ch:
		fmt.Println(c.Kind)
	case <-time.After(time.Minute):
		fmt.Println("nothing happens")
	}
	// Output: changed
}
