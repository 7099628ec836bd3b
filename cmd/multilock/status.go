package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	multilock "github.com/multilock/multilock-go/core"
)

// leaderJSON is the line that status --json and watch --json print.
type leaderJSON struct {
	At          time.Time         `json:"at"`
	Group       string            `json:"group"`
	Leader      string            `json:"leader,omitempty"` // empty: nobody leads
	Token       uint64            `json:"token,omitempty"`
	AcquiredAt  *time.Time        `json:"acquired_at,omitempty"`
	RemainingMS *int64            `json:"remaining_ms,omitempty"` // absent where the store does not tell
	Metadata    map[string]string `json:"metadata,omitempty"`
	Error       string            `json:"error,omitempty"`
}

func asJSON(group string, rec multilock.Record, err error) leaderJSON {
	out := leaderJSON{At: time.Now().UTC(), Group: group}
	switch {
	case err != nil && !errors.Is(err, multilock.ErrNoLeader):
		out.Error = err.Error()
	case err == nil:
		out.Leader, out.Token, out.Metadata = rec.Participant, rec.Token, rec.Metadata
		if !rec.AcquiredAt.IsZero() {
			at := rec.AcquiredAt.UTC()
			out.AcquiredAt = &at
		}
		if rec.Remaining >= 0 {
			ms := rec.Remaining.Milliseconds()
			out.RemainingMS = &ms
		}
	}
	return out
}

func (l leaderJSON) print(w io.Writer, plain bool) error {
	if !plain {
		return json.NewEncoder(w).Encode(l)
	}
	var err error
	switch {
	case l.Error != "":
		_, err = fmt.Fprintf(w, "%s  %s: %s\n", l.At.Local().Format(time.TimeOnly), l.Group, l.Error)
	case l.Leader == "":
		_, err = fmt.Fprintf(w, "%s  %s: nobody leads\n", l.At.Local().Format(time.TimeOnly), l.Group)
	default:
		_, err = fmt.Fprintf(w, "%s  %s: %s leads with token %d", l.At.Local().Format(time.TimeOnly), l.Group, l.Leader, l.Token)
		if l.AcquiredAt != nil && err == nil {
			_, err = fmt.Fprintf(w, " since %s", l.AcquiredAt.Local().Format(time.DateTime))
		}
		if l.RemainingMS != nil && err == nil {
			_, err = fmt.Fprintf(w, ", lease ends in %.1fs unless renewed", float64(*l.RemainingMS)/1000)
		}
		if err == nil {
			_, err = fmt.Fprintln(w)
		}
	}
	return err
}

// noLeader is the exit status of status when nobody leads.
const noLeader = 3

func statusCommand() *cobra.Command {
	var url string
	var asJSONFlag bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status --backend URL GROUP...",
		Short: "Tell who leads; exit status 3 if nobody leads one of the groups",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, groups []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			b, err := openURL(ctx, url)
			if err != nil {
				return err
			}
			defer b.Close(context.Background())
			code := 0
			for _, g := range groups {
				rec, err := b.Leader(ctx, g)
				if err != nil && !errors.Is(err, multilock.ErrNoLeader) {
					return err
				}
				if err != nil {
					code = noLeader
				}
				if err := asJSON(g, rec, err).print(cmd.OutOrStdout(), !asJSONFlag); err != nil {
					return err
				}
			}
			if code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
	backendFlag(cmd, &url)
	cmd.Flags().BoolVar(&asJSONFlag, "json", false, "print one JSON object a line")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for the store")
	return cmd
}

func backendFlag(cmd *cobra.Command, url *string) {
	cmd.Flags().StringVar(url, "backend", "", "URL of the store (see multilock backends)")
	_ = cmd.MarkFlagRequired("backend") // fails only for a flag that does not exist
}

func watchCommand() *cobra.Command {
	var url string
	var asJSONFlag bool
	var interval time.Duration
	cmd := &cobra.Command{
		Use:   "watch --backend URL GROUP...",
		Short: "Print a line whenever the leader of a group changes, until interrupted",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, groups []string) error {
			if interval <= 0 {
				return fmt.Errorf("--interval must be positive, got %v", interval)
			}
			b, err := openURL(cmd.Context(), url)
			if err != nil {
				return err
			}
			defer b.Close(context.Background())
			last := make(map[string]leaderJSON)
			tick := time.NewTicker(interval)
			defer tick.Stop()
			for {
				for _, g := range groups {
					ctx, cancel := context.WithTimeout(cmd.Context(), 10*time.Second)
					rec, err := b.Leader(ctx, g)
					cancel()
					if cmd.Context().Err() != nil {
						return nil
					}
					if errors.Is(err, multilock.ErrInvalid) || errors.Is(err, multilock.ErrMisconfigured) {
						return err
					}
					now := asJSON(g, rec, err)
					was, seen := last[g]
					if seen && was.Token == now.Token && was.Leader == now.Leader && (was.Error == "") == (now.Error == "") {
						continue
					}
					last[g] = now
					if err := now.print(cmd.OutOrStdout(), !asJSONFlag); err != nil {
						return err
					}
				}
				select {
				case <-tick.C:
				case <-cmd.Context().Done():
					return nil
				}
			}
		},
	}
	backendFlag(cmd, &url)
	cmd.Flags().BoolVar(&asJSONFlag, "json", false, "print one JSON object a line")
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "how often to look")
	return cmd
}
