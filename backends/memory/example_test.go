package memory_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
)

// Two processes over one store, in a test.
func ExampleNewStore() {
	ctx := context.Background()
	store := memory.NewStore()
	var electors []*multilock.Elector
	for _, name := range []string{"host-1", "host-2"} {
		b, err := memory.Open(ctx, memory.Options{Store: store})
		if err != nil {
			log.Fatal(err)
		}
		defer b.Close(ctx)
		e, err := multilock.New(b, multilock.Options{Group: "billing", ParticipantID: name})
		if err != nil {
			log.Fatal(err)
		}
		electors = append(electors, e)
	}
	fmt.Println(electors[0].TryAcquire(ctx))
	fmt.Println(electors[1].TryAcquire(ctx))
	// Output:
	// true <nil>
	// false <nil>
}

// A store that misbehaves: is your program right when its leadership is lost?
func ExampleStore_Intercept() {
	ctx := context.Background()
	store := memory.NewStore()
	b, err := memory.Open(ctx, memory.Options{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "billing", HeartbeatTimeout: 200 * time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	seq := e.Changes(ctx, multilock.Acquired|multilock.Lost)
	if err := e.Start(ctx); err != nil {
		log.Fatal(err)
	}
	for c := range seq {
		if c.BecameLeader() {
			store.Intercept(memory.DropRequest) // the network is gone
			continue
		}
		fmt.Println(c.Cause)
		break
	}
	store.Intercept(nil)
	fmt.Println(e.Stop(ctx))
	// Output:
	// multilock: the term is lost: its deadline passed without a confirmed renewal
	// <nil>
}

// Faults that fit together: slow renewals, and acquires that are executed twice.
func ExampleInterceptor() {
	slow, twice := memory.Delay(50*time.Millisecond), memory.Duplicate(time.Second)
	store := memory.NewStore()
	store.Intercept(func(ctx context.Context, r memory.Request, execute func()) error {
		switch r.Op {
		case "renew":
			return slow(ctx, r, execute)
		case "acquire":
			return twice(ctx, r, execute)
		}
		execute()
		return nil
	})
	b, err := memory.Open(context.Background(), memory.Options{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(b.Close(context.Background()))
	// Output: <nil>
}
