// Command file is the quick start over a directory: start it twice, and stop the one
// that leads. It needs no server.
//
//	go run ./examples/quickstart/file
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/backends/file"
	multilock "github.com/multilock/multilock-go/core"
)

func main() {
	dir := flag.String("dir", filepath.Join(os.TempDir(), "multilock-quickstart"), "directory that all processes share")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir string) error {
	backend, err := file.Open(ctx, file.Options{Directory: dir})
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
