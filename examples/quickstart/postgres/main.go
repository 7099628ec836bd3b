// Command postgres is the quick start over PostgreSQL: start it twice, and stop the one
// that leads. The server of compose.yaml suits it:
//
//	docker compose up --wait postgres
//	go run ./examples/quickstart/postgres
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

	"github.com/multilock/multilock-go/backends/postgres"
	multilock "github.com/multilock/multilock-go/core"
)

func main() {
	url := flag.String("url", "postgres://multilock:multilock@localhost:5432/multilock", "connection string")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *url); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) error {
	backend, err := postgres.Open(ctx, postgres.Options{ConnString: url})
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
