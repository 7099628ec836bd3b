package conformance

import (
	"context"

	"github.com/multilock/multilock-go/conformance/internal/model"
	multilock "github.com/multilock/multilock-go/core"
)

// brokenElector is a way to break an elector: what is wrong, the rules that are
// to catch it, and how it is made.
type brokenElector struct {
	what  string
	rules []string
	make  func(e elector, b *multilock.Backend, o multilock.Options) elector
	store model.Bug // that lets it show
}

func (x brokenElector) construct(b *multilock.Backend, o multilock.Options) (elector, error) {
	if x.make == nil { // takes anything and asks the store what it thinks of it
		_, _ = b.Driver().Leader(context.Background(), o.Group)
		return nil, nil
	}
	e, err := newElector(b, o)
	if err != nil {
		return nil, err
	}
	return x.make(e, b, o), nil
}

func brokenElectors() []brokenElector {
	return []brokenElector{
		{
			"a leader that ignores errors of its renewals",
			[]string{"FAIL-requests-lost", "FAIL-errors", "FAIL-partition", "FAIL-locked", "FAIL-replies-lost"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &believer{elector: e} },
			model.None,
		},
		{
			"a leader that gives up at the first error",
			[]string{"FAIL-errors", "FAIL-reply-once"},
			func(_ elector, b *multilock.Backend, o multilock.Options) elector {
				return &naive{b: b, o: o, touchy: true}
			},
			model.None,
		},
		{
			"the work's context is cancelled only after the successor started",
			[]string{"FAIL-handover", "FAIL-requests-lost"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &lateCancel{elector: e} },
			model.None,
		},
		{
			"resigning before the work has drained",
			[]string{"ELE-drain", "ELE-drain-limit"},
			func(e elector, b *multilock.Backend, _ multilock.Options) elector { return &earlyResign{e, b} },
			model.None,
		},
		{
			"resigning while IsLeader still says true",
			[]string{"ELE-resign-order"},
			func(e elector, b *multilock.Backend, _ multilock.Options) elector { return &earlyResign{e, b} },
			model.None,
		},
		{
			"a closed Backend's elector still says that it leads",
			[]string{"FAIL-close"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &sticky{elector: e} },
			model.None,
		},
		{
			"belief counted from the reply instead of the request",
			[]string{"ELE-late-acquire"},
			func(_ elector, b *multilock.Backend, o multilock.Options) elector { return &naive{b: b, o: o} },
			model.None,
		},
		{
			"belief without a margin",
			[]string{"CLK-rate"},
			func(_ elector, b *multilock.Backend, o multilock.Options) elector { return &naive{b: b, o: o} },
			model.None,
		},
		{
			"a leader that takes a certain loss for an uncertain error",
			[]string{"FAIL-lost"},
			func(_ elector, b *multilock.Backend, o multilock.Options) elector {
				return &naive{b: b, o: o, stubborn: true}
			},
			model.None,
		},
		{
			"a late answer about an earlier term ends the present one",
			[]string{"ELE-late-loss"},
			func(_ elector, b *multilock.Backend, o multilock.Options) elector {
				return &naive{b: b, o: o, confused: true}
			},
			model.None,
		},
		{
			"an acquire is sent again after its term has resigned",
			[]string{"ELE-nonce"},
			func(e elector, b *multilock.Backend, o multilock.Options) elector { return &reuser{e, b, o} },
			model.None,
		},
		{
			"renewals go on when the term is over",
			[]string{"FAIL-replies-lost"},
			func(e elector, b *multilock.Backend, o multilock.Options) elector { return &undead{e, b, o, false} },
			model.None,
		},
		{
			"renewals go on beyond the drain limit",
			[]string{"ELE-drain-limit"},
			func(e elector, b *multilock.Backend, o multilock.Options) elector { return &undead{e, b, o, true} },
			model.None,
		},
		{
			"the observer is called on the way of a renewal",
			[]string{"ELE-blocking"},
			func(e elector, b *multilock.Backend, o multilock.Options) elector {
				return &naive{elector: e, b: b, o: o, tells: true}
			},
			model.None,
		},
		{
			"each attempt to renew is given up soon, and not repeated beside a slow one",
			[]string{"FAIL-latency"},
			func(_ elector, b *multilock.Backend, o multilock.Options) elector {
				return &naive{b: b, o: o, hasty: true}
			},
			model.None,
		},
		{
			"a late success revives a term that was over",
			[]string{"ELE-late-replies"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &reviver{elector: e} },
			model.None,
		},
		{
			"a second work starts beside the first",
			[]string{"ELE-recampaign"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &impatient{e} },
			model.None,
		},
		{
			"no campaign after a lost term",
			[]string{"ELE-recampaign", "FAIL-errors"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &once{e} },
			model.None,
		},
		{
			"no abstention after Resign",
			[]string{"ELE-abstain"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &greedy{e} },
			model.NoWake,
		},
		{
			"changes are dropped for a slow subscriber",
			[]string{"ELE-events"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &dropper{e} },
			model.None,
		},
		{
			"the change Stopped is never told",
			[]string{"ELE-events"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &mute{e, multilock.Stopped} },
			model.None,
		},
		{
			"the change Overrun is never told",
			[]string{"ELE-overrun"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &mute{e, multilock.Overrun} },
			model.None,
		},
		{
			"a second Start does nothing",
			[]string{"ELE-restart", "ELE-cycles"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &startsOnce{elector: e} },
			model.None,
		},
		{
			"a waiter looks first and subscribes later",
			[]string{"ELE-waiters"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &deafWaiter{e} },
			model.None,
		},
		{
			"the logger is called while the work waits to begin",
			[]string{"ELE-blocking"},
			func(e elector, _ *multilock.Backend, o multilock.Options) elector { return &chatty{e, o} },
			model.None,
		},
		{
			"a panic of the work is swallowed",
			[]string{"ELE-panic"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &swallower{e} },
			model.None,
		},
		{
			"TryAcquire of a leader asks the store",
			[]string{"ELE-try"},
			func(e elector, b *multilock.Backend, o multilock.Options) elector { return &asker{e, b, o} },
			model.None,
		},
		{
			"a follower that stopped wins afterwards",
			[]string{"ELE-follower"},
			func(e elector, b *multilock.Backend, o multilock.Options) elector { return &zombie{e, b, o} },
			model.None,
		},
		{
			"the leader that was seen first is told for ever",
			[]string{"ELE-view"},
			func(e elector, _ *multilock.Backend, _ multilock.Options) elector { return &nostalgic{elector: e} },
			model.None,
		},
		{
			"invalid names and options reach the store",
			[]string{"NAM-invalid"},
			nil,
			model.None,
		},
		{
			"everybody polls the store all the time",
			[]string{"SIZ-leader", "SIZ-follower", "SIZ-handover"},
			func(e elector, b *multilock.Backend, o multilock.Options) elector {
				return &poller{elector: e, b: b, o: o}
			},
			model.None,
		},
	}
}
