// Command singletonjob runs a job on a schedule, as cron does, but on one of
// several replicas and once for each slot of the schedule, also when a replica
// dies between two runs. Start it several times:
//
//	go run ./examples/singletonjob -every 5s
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/backends/file"
	"github.com/multilock/multilock-go/backends/file/fence"
	multilock "github.com/multilock/multilock-go/core"
)

func main() {
	dir := flag.String("dir", filepath.Join(os.TempDir(), "multilock-singletonjob"), "directory that all replicas share")
	every := flag.Duration("every", time.Minute, "time between two runs")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *every); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir string, every time.Duration) error {
	backend, err := file.Open(ctx, file.Options{Directory: dir})
	if err != nil {
		return err
	}
	defer backend.Close(context.WithoutCancel(ctx))
	elector, err := multilock.New(backend, multilock.Options{Group: "nightly-report", Logger: slog.Default()})
	if err != nil {
		return err
	}
	guard, err := fence.Open(filepath.Join(dir, "last-run.fence"))
	if err != nil {
		return err
	}
	s := &schedule{every: every, last: filepath.Join(dir, "last-run"), guard: guard, job: report}
	err = elector.Run(ctx, s.run)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// report is the job. It has to obey ctx, which ends with the term.
func report(_ context.Context, slot time.Time) error {
	fmt.Println("report of", slot.Format(time.RFC3339))
	return nil
}

// schedule runs a job in slots: the multiples of every.
type schedule struct {
	every time.Duration
	last  string // the file with the last slot that was run
	guard *fence.Guard
	job   func(ctx context.Context, slot time.Time) error
}

// run is the work of one term.
func (s *schedule) run(ctx context.Context, term multilock.Term) error {
	for {
		slot := time.Now().Truncate(s.every)
		last, err := s.lastSlot()
		if err != nil {
			return err
		}
		if slot.After(last) { // otherwise it was run already, perhaps by another replica
			if err := s.one(ctx, term, slot); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(slot.Add(s.every))):
		}
	}
}

// one notes the slot and runs the job. It notes first: a job that fails, or whose
// replica dies, is not repeated in this slot. For "at least once" do it after.
func (s *schedule) one(ctx context.Context, term multilock.Term, slot time.Time) error {
	// A replica that was frozen since it looked at the clock may not go back behind
	// what its successor has noted: the guard refuses its token.
	err := s.guard.Do(ctx, term.Token, func() error {
		return os.WriteFile(s.last, []byte(slot.Format(time.RFC3339)), 0o600)
	})
	switch {
	case errors.Is(err, fence.ErrStale), ctx.Err() != nil:
		return nil // the term is over
	case err != nil:
		return err
	}
	if err := s.job(ctx, slot); err != nil {
		slog.Error("the job failed", "slot", slot, "error", err)
	}
	return nil
}

// lastSlot is the last one that was run, the zero time if none was.
func (s *schedule) lastSlot() (time.Time, error) {
	text, err := os.ReadFile(s.last)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
}
