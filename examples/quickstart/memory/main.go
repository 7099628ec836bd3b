// Command memory is the quick start without anything else: two electors of one
// process hand the leadership to each other. The memory backend is for tests and
// for programs of one process.
//
//	go run ./examples/quickstart/memory
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/backends/memory"
	multilock "github.com/multilock/multilock-go/core"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	backend, err := memory.Open(ctx, memory.Options{})
	if err != nil {
		return err
	}
	defer backend.Close(context.WithoutCancel(ctx))
	var both sync.WaitGroup
	for _, name := range []string{"anna", "bert"} {
		elector, err := multilock.New(backend, multilock.Options{Group: "quickstart", ParticipantID: name})
		if err != nil {
			return err
		}
		both.Go(func() {
			err := elector.Run(ctx, func(ctx context.Context, term multilock.Term) error { return work(ctx, elector, term) })
			if !errors.Is(err, context.Canceled) {
				log.Print(err)
			}
		})
	}
	both.Wait()
	return nil
}

// work leads for two seconds and then lets the other have a turn.
func work(ctx context.Context, elector *multilock.Elector, term multilock.Term) error {
	log.Printf("%s leads with token %d", term.Participant, term.Token)
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(2 * time.Second):
	}
	return elector.Resign(ctx)
}
