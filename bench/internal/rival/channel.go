package rival

import (
	"context"
	"sync"
)

// goChannel is no election but a floor for one: what it costs on this machine to
// wake a goroutine of the same process from rest, and nothing else.
func goChannel() Rival {
	return Rival{
		Library: "a Go channel", Floor: true,
		Note:    "a floor, not a library: a channel of this process that holds one token; no lease, no renewal, no fencing token, no record, no state, nobody whose death it would survive",
		Connect: func(context.Context, Setting) (Client, error) { return channelClient{}, nil },
	}
}

// tokens are channels by group. Each holds one token while nobody leads.
var tokens sync.Map

type channelClient struct{}

func (channelClient) Candidate(group, _ string) (Candidate, error) {
	fresh := make(chan struct{}, 1)
	fresh <- struct{}{}
	token, _ := tokens.LoadOrStore(group, fresh)
	return channelCandidate{token.(chan struct{})}, nil
}

func (channelClient) Close() {}

type channelCandidate struct{ token chan struct{} }

func (c channelCandidate) Lead(ctx context.Context) error {
	select {
	case <-c.token:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c channelCandidate) Resign(context.Context) error {
	c.token <- struct{}{}
	return nil
}
