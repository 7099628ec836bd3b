package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"

	multilock "github.com/multilock/multilock-go/core"
)

// report is a line that a candidate of the demonstration writes to its parent.
// All processes share one machine and so one clock.
type report struct {
	Event string    `json:"event"` // ready, leading, ended
	Token uint64    `json:"token,omitempty"`
	From  time.Time `json:"from,omitzero"` // first and last instant of the term in which
	Last  time.Time `json:"last,omitzero"` // this process said that it leads
	Cause string    `json:"cause,omitempty"`
}

// candidateCommand is one process of the demonstration.
func candidateCommand() *cobra.Command {
	var url, group, id string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "candidate", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := openURL(cmd.Context(), url)
			if err != nil {
				return err
			}
			defer b.Close(context.Background())
			e, err := multilock.New(b, multilock.Options{Group: group, ParticipantID: id, HeartbeatTimeout: ttl})
			if err != nil {
				return err
			}
			out := json.NewEncoder(os.Stdout)
			if err := out.Encode(report{Event: "ready"}); err != nil {
				return err
			}
			err = e.Run(cmd.Context(), func(ctx context.Context, term multilock.Term) error {
				r := report{Event: "leading", Token: term.Token, From: time.Now()}
				r.Last = r.From
				if err := out.Encode(r); err != nil {
					return err
				}
				for tick := time.NewTicker(2 * time.Millisecond); ctx.Err() == nil; <-tick.C {
					if now := time.Now(); e.IsLeader() {
						r.Last = now
					}
				}
				r.Event, r.Cause = "ended", context.Cause(ctx).Error()
				return out.Encode(r)
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().StringVar(&url, "backend", "", "")
	cmd.Flags().StringVar(&group, "group", "", "")
	cmd.Flags().StringVar(&id, "id", "", "")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "")
	return cmd
}
