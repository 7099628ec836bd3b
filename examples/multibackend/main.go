// Command multibackend lets three participants elect a leader over the store that
// is named on the command line; every few seconds the leader steps down.
//
//	go run ./examples/multibackend file
//	go run ./examples/multibackend redis
//	go run ./examples/multibackend redis redis://localhost:6380/1
//
// The program is the same for all stores: what differs is a URL.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/backends/azblob"
	"github.com/multilock/multilock-go/backends/consul"
	"github.com/multilock/multilock-go/backends/file"
	"github.com/multilock/multilock-go/backends/memory"
	"github.com/multilock/multilock-go/backends/postgres"
	"github.com/multilock/multilock-go/backends/redis"
	"github.com/multilock/multilock-go/backends/sqlserver"
	"github.com/multilock/multilock-go/backends/zookeeper"
	multilock "github.com/multilock/multilock-go/core"
)

// provider is one store: how it is opened, and the URL if none is given, which is
// that of the servers in compose.yaml.
type provider struct {
	open func(ctx context.Context, url string) (*multilock.Backend, error)
	url  string
}

var providers = map[string]provider{
	// The connection string, with its key, comes from MULTILOCK_AZBLOB_CONNECTION_STRING.
	"azblob":    {azblob.OpenURL, "azblob:///leader-election"},
	"consul":    {consul.OpenURL, "consul://localhost:8500"},
	"file":      {file.OpenURL, "file://" + filepath.Join(os.TempDir(), "multilock-multibackend")},
	"memory":    {memory.OpenURL, "memory://multibackend"},
	"postgres":  {postgres.OpenURL, "postgres://multilock:multilock@localhost:5432/multilock"},
	"redis":     {redis.OpenURL, "redis://localhost:6379/0"},
	"sqlserver": {sqlserver.OpenURL, "sqlserver://sa:Multilock-1@localhost:1433?database=master&encrypt=true&trustServerCertificate=true"},
	"zookeeper": {zookeeper.OpenURL, "zookeeper://localhost:2181/leader-election"},
}

func main() {
	names := strings.Join(slices.Sorted(maps.Keys(providers)), ", ")
	turn := flag.Duration("turn", 3*time.Second, "how long a participant leads before it steps down")
	flag.Usage = func() {
		fmt.Fprintf(os.Stderr, "usage: multibackend [flags] PROVIDER [URL]\nproviders: %s\n", names)
		flag.PrintDefaults()
	}
	flag.Parse()
	p, ok := providers[flag.Arg(0)]
	if !ok {
		flag.Usage()
		os.Exit(2)
	}
	if flag.NArg() > 1 {
		p.url = flag.Arg(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, p, *turn); err != nil {
		log.Fatal(err)
	}
}

// run takes part with three participants until ctx ends. Each has a backend of its
// own, as if it were a process of its own.
func run(ctx context.Context, p provider, turn time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	failed := make(chan error, 3)
	for i := range cap(failed) {
		all.Go(func() {
			if err := participate(ctx, p, fmt.Sprintf("participant-%d", i+1), turn); err != nil {
				failed <- err
				cancel()
			}
		})
	}
	all.Wait()
	close(failed)
	return <-failed // nil if nobody failed
}

func participate(ctx context.Context, p provider, name string, turn time.Duration) error {
	backend, err := p.open(ctx, p.url)
	if err != nil {
		return err
	}
	defer backend.Close(context.WithoutCancel(ctx))
	elector, err := multilock.New(backend, multilock.Options{
		Group: "multibackend", ParticipantID: name, Metadata: map[string]string{"pid": fmt.Sprint(os.Getpid())},
	})
	if err != nil {
		return err
	}
	changes := elector.Changes(context.WithoutCancel(ctx), multilock.Acquired|multilock.Lost|multilock.Stopped)
	if err := elector.Start(ctx); err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = elector.Stop(context.WithoutCancel(ctx)) })
	for c := range changes { // ends when the elector has stopped
		switch c.Kind {
		case multilock.Acquired:
			log.Printf("%s leads with token %d", name, c.Term.Token)
			time.AfterFunc(turn, func() { _ = elector.Resign(ctx) }) // and keeps taking part
		case multilock.Lost:
			log.Printf("%s no longer leads: %v", name, c.Cause)
		case multilock.Stopped:
			if ctx.Err() == nil {
				return c.Cause
			}
		}
	}
	return nil
}
