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

// Every way a request can go wrong, for tests of your own.
func ExampleRequest() {
	thaw := make(chan struct{})
	faults := map[string]memory.Interceptor{
		"acquire": memory.Late(time.Second),       // executed after the sender gave up, reply lost
		"renew":   memory.DropReply,               // executed, reply lost
		"resign":  memory.DelayReply(time.Second), // executed, reply late
		"leader":  memory.Freeze(thaw),            // hangs
	}
	store := memory.NewStore()
	store.Intercept(func(ctx context.Context, r memory.Request, execute func()) error {
		if f := faults[r.Op]; f != nil {
			return f(ctx, r, execute)
		}
		execute()
		return nil
	})
	close(thaw)
	store.Intercept(nil)
}

// Somebody with access to the store interferes: its clock is stepped, records are
// removed, old, locked or restored.
func ExampleStore() {
	ctx := context.Background()
	store := memory.NewStore()
	b, err := memory.Open(ctx, memory.Options{Store: store})
	if err != nil {
		log.Fatal(err)
	}
	defer b.Close(ctx)
	e, err := multilock.New(b, multilock.Options{Group: "billing", ParticipantID: "host-1"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := e.TryAcquire(ctx); err != nil {
		log.Fatal(err)
	}
	leader := func() {
		r, err := b.Leader(ctx, "billing")
		fmt.Println(r.Participant, err)
	}
	leader()

	restore := store.Snapshot()
	store.StepClock(time.Minute) // every lease has expired
	leader()
	store.StepClock(-time.Minute)
	leader()
	store.Remove("billing") // or all groups with store.Clear()
	leader()
	restore()
	leader()

	store.Age("billing", time.Hour) // as if the store had been idle
	store.SetToken("billing", 1000) // as if so many terms had been

	unlock := store.Lock("billing") // as a transaction would hold a row
	unlock()

	begin := time.Now()
	store.SetClock(func() time.Duration { return 2 * time.Since(begin) }) // runs twice as fast
	store.Clear()
	// Output:
	// host-1 <nil>
	//  multilock: no leader
	// host-1 <nil>
	//  multilock: no leader
	// host-1 <nil>
}
