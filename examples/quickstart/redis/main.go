// Command redis is the quick start over Redis: start it twice, and stop the one
// that leads. The server of compose.yaml suits it:
//
//	docker compose up --wait redis
//	go run ./examples/quickstart/redis
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/backends/redis"
	multilock "github.com/multilock/multilock-go/core"
)

func main() {
	addr := flag.String("addr", "localhost:6379", "address of the server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr string) error {
	backend, err := redis.Open(ctx, redis.Options{Addrs: []string{addr}})
	if err != nil {
		return err
	}
	defer backend.Close(context.WithoutCancel(ctx))
	elector, err := multilock.New(backend, multilock.Options{Group: "quickstart", Logger: slog.Default()})
	if err != nil {
		return err
	}
	err = elector.Run(ctx, work) // campaigns, works, and campaigns again after a loss
	if errors.Is(err, context.Canceled) {
		return nil // asked to stop: the work has returned and the leadership is given up
	}
	return err
}

// work runs only while this process leads, and returns soon after ctx ends.
func work(ctx context.Context, term multilock.Term) error {
	for n := 1; ; n++ {
		log.Printf("work %d under token %d", n, term.Token) // send the token with every write
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}
