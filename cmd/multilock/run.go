package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	multilock "github.com/multilock/multilock-go/core"
)

// runFlags are the flags of run.
type runFlags struct {
	url, group, id string
	ttl, grace     time.Duration
	once, verbose  bool
}

func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run --backend URL --group GROUP -- COMMAND [ARG...]",
		Short: "Run a command only while leading",
		Long: `Run a command only while leading.

The command runs in a process group of its own, with MULTILOCK_GROUP,
MULTILOCK_PARTICIPANT and MULTILOCK_TOKEN (the fencing token) in its environment.

On SIGINT or SIGTERM multilock forwards the signal, waits for the command to end,
at most --grace or until a second signal, kills what is left of its group, and
only then gives the leadership up. If the leadership is lost, the group is killed
at once: what is left of the lease is the safety margin. If multilock itself is
stopped (SIGSTOP) the command runs on, and if it is killed (SIGKILL) so does what
the command has started; on systems other than Linux the command itself, too.
Send the token with every write that must not be stale.

When the command ends by itself, the leadership is given up and multilock
campaigns again, unless --once is given: then it ends with the command's status.
A command that is killed because the leadership was lost has not ended by itself.

The exit status is 0 after a signal, 1 after an error of multilock, 127 or 126 if
the command was not found or is not executable. With --once a signal makes no
difference to the command's status; it is 128 and the signal's number if the
command never ran.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), args) },
	}
	backendFlag(cmd, &f.url)
	cmd.Flags().StringVar(&f.group, "group", "", "the election to take part in")
	_ = cmd.MarkFlagRequired("group")
	cmd.Flags().StringVar(&f.id, "id", "", "name of this participant (default: host name and random digits)")
	cmd.Flags().DurationVar(&f.ttl, "ttl", 0, "time-to-live of the leadership (default 15s)")
	cmd.Flags().DurationVar(&f.grace, "grace", 8*time.Second, "how long the command may take to end after a signal")
	cmd.Flags().BoolVar(&f.once, "once", false, "end with the command's exit status")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "log what happens to standard error")
	return cmd
}

func (f *runFlags) run(ctx context.Context, args []string) error {
	if f.grace < 0 {
		return fmt.Errorf("--grace must not be negative, got %v", f.grace)
	}
	path, err := exec.LookPath(args[0])
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &exitError{code: 126, err: err}
	case err != nil:
		return &exitError{code: 127, err: err}
	}
	b, err := openURL(ctx, f.url)
	if err != nil {
		return err
	}
	defer b.Close(context.Background())
	level := slog.LevelWarn
	if f.verbose {
		level = slog.LevelDebug
	}
	e, err := multilock.New(b, multilock.Options{
		Group: f.group, ParticipantID: f.id, HeartbeatTimeout: f.ttl,
		DrainTimeout: f.grace + 5*time.Second, // the command is killed before it
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	status, ran := 0, false
	for {
		err := e.Run(ctx, func(ctx context.Context, term multilock.Term) error {
			var err error
			ran = true
			status, err = f.child(ctx, path, args, term)
			return err
		})
		ended := errors.Is(err, context.Canceled) && ctx.Err() != nil
		switch {
		case err != nil && !ended:
			return err
		case f.once && ran:
			return exit(status)
		case f.once: // only a signal ends it before
			return exit(128 + number(context.Cause(ctx)))
		case ended:
			return nil // asked to end, and everything is in order
		}
		select { // a command that ends at once must not spin
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func exit(status int) error {
	if status == 0 {
		return nil
	}
	return &exitError{code: status}
}

// number is the number of the signal that interrupted multilock.
func number(cause error) int {
	if i, ok := errors.AsType[*interrupted](cause); ok {
		if s, ok := i.signal.(syscall.Signal); ok {
			return int(s)
		}
	}
	return 0
}

// child runs the command during one term and returns its exit status. Its error
// means that the command could not be run.
func (f *runFlags) child(ctx context.Context, path string, args []string, term multilock.Term) (int, error) {
	cmd := exec.Command(path, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"MULTILOCK_GROUP="+term.Group, "MULTILOCK_PARTICIPANT="+term.Participant,
		fmt.Sprintf("MULTILOCK_TOKEN=%d", term.Token))
	ownGroup(cmd)
	forward := make(chan os.Signal, 8)
	signal.Notify(forward, forwarded...) // first: none is lost while it starts
	defer signal.Stop(forward)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	again := make(chan os.Signal, 1)
	defer signal.Stop(again)
	over := ctx.Done()
	var kill <-chan time.Time
	for {
		select {
		case err := <-ended:
			killGroup(cmd) // whatever the command left behind
			return exitStatus(err)
		case s := <-forward:
			signalGroup(cmd, s)
		case <-over:
			over = nil
			cause := context.Cause(ctx)
			if errors.Is(cause, multilock.ErrLost) {
				killGroup(cmd) // another may lead as soon as the margin has passed
				continue
			}
			polite := os.Signal(syscall.SIGTERM)
			if i, ok := errors.AsType[*interrupted](cause); ok {
				polite = i.signal
			}
			signalGroup(cmd, polite)
			signal.Notify(again, os.Interrupt, syscall.SIGTERM)
			kill = time.After(f.grace)
		case <-again:
			killGroup(cmd)
		case <-kill:
			kill = nil
			killGroup(cmd)
		}
	}
}

// exitStatus is the shell's: 128 and the signal for a command that was killed.
func exitStatus(err error) (int, error) {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return 0, err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return exit.ExitCode(), nil
}
