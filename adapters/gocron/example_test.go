package gocronlock_test

import (
	"context"
	"log"
	"time"

	"github.com/go-co-op/gocron/v2"

	gocronlock "github.com/multilock/multilock-go/adapters/gocron"
	multilock "github.com/multilock/multilock-go/core"
)

var backend *multilock.Backend // redis.Open(...)

// One instance, the leader, runs all jobs; a job ends with the term.
func ExampleNewElector() {
	ctx := context.Background()
	elector, err := multilock.New(backend, multilock.Options{Group: "scheduler"})
	if err != nil {
		log.Fatal(err)
	}
	if err := elector.Start(ctx); err != nil {
		log.Fatal(err)
	}
	defer elector.Stop(ctx) // after the scheduler
	s, err := gocron.NewScheduler(gocron.WithDistributedElector(gocronlock.NewElector(elector)))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown()
	nightly := func(ctx context.Context, term multilock.Term) error {
		log.Print("running with token ", term.Token)
		return nil
	}
	if _, err := s.NewJob(gocron.CronJob("0 3 * * *", false), gocron.NewTask(gocronlock.WhileLeading(elector, nightly))); err != nil {
		log.Fatal(err)
	}
	s.Start()
}

// Each run of each job is locked by itself, so that jobs spread over the instances.
func ExampleNewLocker() {
	ctx := context.Background()
	locker, err := gocronlock.NewLocker(backend, gocronlock.LockerOptions{Hold: 10 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer locker.Close(ctx) // after the scheduler
	s, err := gocron.NewScheduler(gocron.WithDistributedLocker(locker))
	if err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown()
	report := func() {
		if term, ok := locker.Term("report"); ok {
			log.Print("running with token ", term.Token)
		}
	}
	if _, err := s.NewJob(gocron.DurationJob(time.Minute), gocron.NewTask(report), gocron.WithName("report")); err != nil {
		log.Fatal(err)
	}
	s.Start()
}
