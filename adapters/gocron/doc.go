// Package gocronlock lets github.com/go-co-op/gocron/v2 run jobs on one of several
// instances, over any backend of MultiLock.
//
// With [NewElector] one instance, the leader, runs all jobs:
//
//	elector, err := multilock.New(backend, multilock.Options{Group: "scheduler"})
//	err = elector.Start(ctx)
//	s, err := gocron.NewScheduler(gocron.WithDistributedElector(gocronlock.NewElector(elector)))
//	j, err := s.NewJob(gocron.CronJob("0 3 * * *", false), gocron.NewTask(gocronlock.WhileLeading(elector, nightly)))
//
// gocron asks who leads before a job and never again: a job that is under way when
// leadership ends goes on beside the successor's. [WhileLeading] ends the job's
// context then, and gives it the fencing token to write with. When stopping, shut the
// scheduler down first and stop the elector after that.
//
// With [NewLocker] each run of each job is locked by itself, so that jobs spread over
// the instances.
package gocronlock
