// Command sharding spreads twelve shards over several replicas: each shard is a
// group of its own, all on one connection. Start up to three, stop and kill some:
//
//	go run ./examples/sharding -replica 0
//	go run ./examples/sharding -replica 1
//	go run ./examples/sharding -replica 2
//
// Who should serve a shard is computed from who is alive, so that the shards are
// spread evenly and move as little as possible. That may be out of date; who does
// serve it is decided by its election, so that nobody else does meanwhile.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/backends/file"
	multilock "github.com/multilock/multilock-go/core"
)

const (
	shards = 12
	look   = 500 * time.Millisecond // how often a replica looks who is alive
)

func main() {
	dir := flag.String("dir", filepath.Join(os.TempDir(), "multilock-sharding"), "directory that all replicas share")
	number := flag.Int("replica", 0, "number of this replica, such as the ordinal of a StatefulSet's pod")
	replicas := flag.Int("replicas", 3, "how many replicas there may be")
	flag.Parse()
	if *number < 0 || *number >= *replicas {
		log.Fatal("-replica must be from 0 to -replicas less one")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *number, *replicas); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir string, number, replicas int) error {
	backend, err := file.Open(ctx, file.Options{Directory: dir})
	if err != nil {
		return err
	}
	defer backend.Close(context.WithoutCancel(ctx))
	r := &replica{number: number, alive: make([]bool, replicas), moved: make(chan struct{})}
	r.alive[number] = true
	for i := range replicas { // that a replica is alive shows in a group of its own, which it leads
		e, err := multilock.New(backend, multilock.Options{Group: fmt.Sprintf("replica-%d", i)})
		if err != nil {
			return err
		}
		r.presence = append(r.presence, e)
	}
	if err := r.presence[number].Start(ctx); err != nil {
		return err
	}
	r.lookAround(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		for tick := time.NewTicker(look); ctx.Err() == nil; {
			select {
			case <-ctx.Done():
			case <-tick.C:
				r.lookAround(ctx)
			}
		}
	})
	for shard := range shards {
		e, err := multilock.New(backend, multilock.Options{Group: fmt.Sprintf("shard-%d", shard)})
		if err != nil {
			return err
		}
		all.Go(func() { r.takePart(ctx, shard, e) })
	}
	all.Wait()
	return r.presence[number].Stop(context.WithoutCancel(ctx))
}

// replica is this process.
type replica struct {
	number   int
	presence []*multilock.Elector // of every replica; only that of this one is started

	mu    sync.Mutex
	alive []bool
	moved chan struct{} // closed and replaced when alive changes
}

// lookAround asks the store which replicas are alive.
func (r *replica) lookAround(ctx context.Context) {
	for i, e := range r.presence {
		if i == r.number {
			continue
		}
		_, err := e.Leader(ctx)
		if err != nil && !errors.Is(err, multilock.ErrNoLeader) {
			continue // not known: nothing moves for that
		}
		r.mu.Lock()
		if r.alive[i] != (err == nil) {
			r.alive[i] = err == nil
			close(r.moved)
			r.moved = make(chan struct{})
		}
		r.mu.Unlock()
	}
}

// mine reports whether this replica should serve a shard: every replica has its own,
// and those of the dead are dealt out to the others. The channel is closed when that
// may change.
func (r *replica) mine(shard int) (bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	owner := shard % len(r.alive)
	if !r.alive[owner] {
		var living []int
		for i, alive := range r.alive {
			if alive {
				living = append(living, i)
			}
		}
		owner = living[shard/len(r.alive)%len(living)] // this replica at least is alive
	}
	return owner == r.number, r.moved
}

// takePart is in the election of a shard for as long as this replica should serve it.
func (r *replica) takePart(ctx context.Context, shard int, e *multilock.Elector) {
	for ctx.Err() == nil {
		mine, moved := r.mine(shard)
		if !mine {
			select {
			case <-ctx.Done():
			case <-moved:
			}
			continue
		}
		term, giveUp := context.WithCancel(ctx)
		go func() {
			defer giveUp()
			for mine {
				select {
				case <-term.Done():
					return
				case <-moved:
					mine, moved = r.mine(shard)
				}
			}
		}()
		err := e.Run(term, func(ctx context.Context, t multilock.Term) error { return serve(ctx, shard, t) })
		giveUp()
		if !errors.Is(err, context.Canceled) {
			log.Printf("shard %d: %v", shard, err)
			time.Sleep(look)
		}
	}
}

// serve is the work on one shard; it has returned before another replica begins.
func serve(ctx context.Context, shard int, term multilock.Term) error {
	log.Printf("shard %d is served under token %d", shard, term.Token)
	<-ctx.Done()
	log.Printf("shard %d is given up", shard)
	return nil
}
