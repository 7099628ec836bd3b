package simulation

import (
	"context"
	"sync"
	"time"

	"github.com/multilock/multilock-go/core/internal/seam"
)

// result is what a schedule came to.
type result struct {
	terms  int
	faults []string
	trace  []string
}

// simulate runs the schedule of a seed to its end; it must be called in a bubble.
func simulate(seed uint64, fault seam.Fault) (result, error) {
	w, err := newWorld(seed, fault)
	if err != nil {
		return result{}, err
	}
	stop := make(chan struct{})
	var all sync.WaitGroup
	for _, n := range w.nodes {
		n.subscribe(&all, stop)
		all.Go(func() { n.run(stop) })
		all.Go(func() { n.suffer(stop) })
	}
	end := time.Now().Add(3 * time.Minute)
	for time.Now().Before(end) {
		time.Sleep(time.Duration(1 + w.int64N(int64(time.Second))))
		w.check("in between")
	}
	for _, n := range w.nodes { // let everybody come to an end
		n.m.resume()
		n.net.mend()
	}
	w.check("at the end")
	close(stop)
	all.Wait()
	for _, n := range w.nodes {
		if err := n.backend.Close(context.Background()); err != nil {
			w.fault("node %d: Close returned %v", n.id, err)
		}
		n.mu.Lock()
		if n.once != nil {
			w.fault("%v", n.once)
		}
		n.mu.Unlock()
		n.net.background.Wait()
	}
	return result{terms: w.terms, faults: w.faults, trace: w.trace}, nil
}

// suffer is what happens to a node from outside.
func (n *node) suffer(stop <-chan struct{}) {
	wait := func(most time.Duration) bool {
		t := time.NewTimer(time.Duration(1 + n.w.int64N(int64(most))))
		defer t.Stop()
		select {
		case <-t.C:
			return true
		case <-stop:
			return false
		}
	}
	for wait(40 * time.Second) {
		switch n.w.intN(9) {
		case 0, 1:
			n.w.note("node %d paused", n.id)
			n.m.pause()
			wait(40 * time.Second)
			n.m.resume()
			n.w.check("resumed from a pause")
		case 2:
			n.w.note("node %d suspended", n.id)
			n.m.suspend()
			wait(40 * time.Second)
			n.m.resume()
			n.w.check("resumed from suspend")
		case 3, 4:
			to, from := n.w.intN(3) > 0, n.w.intN(3) > 0
			n.w.note("node %d cut off, requests %v, replies %v", n.id, to, from)
			n.net.set(to, from, false)
			wait(40 * time.Second)
			n.net.mend()
		case 5:
			n.w.note("node %d has a slow network", n.id)
			n.net.set(false, false, true)
			wait(30 * time.Second)
			n.net.mend()
		case 6:
			if n.m.hasBoot {
				d := time.Duration(n.w.int64N(int64(40*time.Second))) - 20*time.Second
				n.w.note("node %d: wall clock stepped by %v", n.id, d)
				n.m.stepWall(d)
				n.w.check("wall clock stepped")
			}
		case 7:
			n.w.note("node %d is asked to resign", n.id)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			_ = n.elector.Resign(ctx) // whatever comes of it, the oracle looks at the rest
			cancel()
		case 8:
			alone := n.w.intN(2) == 0 // without a campaign, if Run does not come in between
			n.w.note("node %d is asked to try, alone %v", n.id, alone)
			if alone {
				_ = n.elector.Stop(context.Background())
			}
			n.try()
		}
	}
	n.m.resume()
	n.net.mend()
}

// try asks for an attempt from outside. It is answered by one, whatever the
// elector was doing, so it must not take as long as a term may last.
func (n *node) try() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	begin := n.m.Now().Mono
	_, _ = n.elector.TryAcquire(ctx) // whatever comes of it, the oracle looks at the rest
	if took := time.Duration(n.m.Now().Mono - begin); took > time.Minute {
		n.w.fault("node %d: TryAcquire was answered after %v", n.id, took)
	}
}

func (n *network) set(cutTo, cutFrom, slow bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cutTo, n.cutFrom, n.slow = cutTo, cutFrom, slow
}

func (n *network) mend() { n.set(false, false, false) }
