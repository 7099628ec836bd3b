// Command multilock elects leaders from the shell: it shows an election between
// real processes (demo), runs a program only while leading (run), and tells who
// leads (status, watch). It can open every backend by URL.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	multilock "github.com/multilock/multilock-go/core"
)

// exitError ends the program with a status of its own.
type exitError struct {
	code int
	err  error // nil: nothing more to say
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func main() {
	err := root().ExecuteContext(untilSignal())
	if err == nil {
		return
	}
	code := 1
	if exit, ok := errors.AsType[*exitError](err); ok {
		code = exit.code
		err = exit.err
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "multilock:", strings.TrimPrefix(err.Error(), "multilock: "))
	}
	os.Exit(code)
}

// interrupted is why the context of all commands ended.
type interrupted struct{ signal os.Signal }

func (e *interrupted) Error() string { return e.signal.String() }

// Is makes an interruption a cancellation.
func (e *interrupted) Is(target error) bool { return target == context.Canceled }

// untilSignal returns a context that the first SIGINT or SIGTERM ends. Later ones
// are for whoever asks for them.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	first := make(chan os.Signal, 1)
	signal.Notify(first, os.Interrupt, syscall.SIGTERM)
	go func() { cancel(&interrupted{<-first}) }()
	return ctx
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:           "multilock",
		Short:         "Leader election over the storage you already run",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.AddCommand(demoCommand(), candidateCommand(), runCommand(), statusCommand(), watchCommand(), backendsCommand())
	return cmd
}

// openURL opens the backend that the scheme of url names.
func openURL(ctx context.Context, url string) (*multilock.Backend, error) {
	scheme, _, ok := strings.Cut(url, "://")
	if !ok {
		return nil, fmt.Errorf("--backend must be a URL such as %s", strings.Join(examples(), ", "))
	}
	for _, b := range backends {
		for _, s := range b.schemes {
			if strings.EqualFold(s, scheme) {
				return b.open(ctx, url)
			}
		}
	}
	return nil, fmt.Errorf("--backend has the unknown scheme %q; allowed are URLs such as %s", scheme, strings.Join(examples(), ", "))
}

func examples() []string {
	out := make([]string, 0, len(backends))
	for _, b := range backends {
		out = append(out, b.example)
	}
	return out
}

func backendsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backends",
		Short: "List the backends and the URLs that open them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, b := range backends {
				fmt.Fprintf(cmd.OutOrStdout(), "%-10s %s\n           %s\n", b.name, b.example, b.summary)
			}
			return nil
		},
	}
}
