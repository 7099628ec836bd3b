// Command azblob is the quick start over Azure Blob Storage: start it twice, and stop the one
// that leads. The server of compose.yaml suits it:
//
//	docker compose up --wait azblob
//	go run ./examples/quickstart/azblob
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

	"github.com/multilock/multilock-go/backends/azblob"
	multilock "github.com/multilock/multilock-go/core"
)

// emulator is the account that every Azurite has; its key is public.
const emulator = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"

func main() {
	connection := flag.String("connection", emulator, "connection string of the storage account")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *connection); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, connection string) error {
	backend, err := azblob.Open(ctx, azblob.Options{ConnectionString: connection})
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
