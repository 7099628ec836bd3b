package clientgolock_test

import (
	"context"
	"log"
	"os"

	"k8s.io/client-go/tools/leaderelection"

	clientgolock "github.com/multilock/multilock-go/adapters/clientgo"
	multilock "github.com/multilock/multilock-go/core"
)

// client-go's elector over another store than the API server.
func ExampleNew() {
	var backend *multilock.Backend // redis.Open(...)
	lock, err := clientgolock.New(backend, clientgolock.Options{Group: "controller"})
	if err != nil {
		log.Fatal(err)
	}
	work := func(ctx context.Context, term multilock.Term) {
		log.Print("leading; token ", term.Token)
		<-ctx.Done()
	}
	leaderelection.RunOrDie(context.Background(), leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: clientgolock.DefaultLeaseDuration, // the same three as in the lock's options
		RenewDeadline: clientgolock.DefaultRenewDeadline,
		RetryPeriod:   clientgolock.DefaultRetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: lock.Guard(work), // ends before the lease is released
			OnStoppedLeading: func() { os.Exit(1) },
		},
		ReleaseOnCancel: true,
	})
}
