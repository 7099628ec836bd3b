package zookeeper

import (
	"testing"
	"time"
)

// What is proven is a request that was answered a tick before the next one was
// sent, and only by an answer of the ensemble's.
func TestProofs(t *testing.T) {
	const tick = 2 * time.Second
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	type request struct {
		sent, answered float64
		decided        bool
	}
	for _, c := range []struct {
		what     string
		requests []request
		want     float64 // what is proven, or less than zero
	}{
		{"one write", []request{{1, 1, true}}, -1},
		{"two a tick apart", []request{{1, 1, true}, {3, 3, true}}, 1},
		{"a read proves nothing", []request{{1, 1, true}, {3, 3, false}}, -1},
		{"but a read is proven", []request{{1, 1, false}, {3, 3, true}}, 1},
		{"two in less than a tick", []request{{1, 1, true}, {2.9, 3.1, true}}, -1},
		{"the first was answered too late", []request{{1, 2, true}, {3.5, 3.5, true}}, -1},
		{"the second was asked too early", []request{{1, 1, true}, {2, 9, true}}, -1},
		{"the newest that is old enough", []request{{1, 1, true}, {2, 2, true}, {3, 3, true}, {4.5, 4.5, true}}, 2},
		{"three heartbeats of most of a tick", []request{{0, 0, true}, {1.5, 1.5, true}, {3, 3, true}}, 0},
		{"many at once are a few", []request{{0, 0, true}, {0.1, 0.1, true}, {0.2, 0.2, true}, {2.25, 2.25, true}}, 0},
	} {
		var p proofs
		for _, r := range c.requests {
			p.add(7, at(r.sent), at(r.answered), r.decided, tick)
		}
		if got := p.at; c.want < 0 && !got.IsZero() || c.want >= 0 && !got.Equal(at(c.want)) {
			t.Errorf("%s: proven is %v", c.what, got.Sub(start))
		}
	}

	var p proofs
	p.add(7, at(0), at(0), true, tick)
	if got := p.provable(7, at(1.9), tick); !got.at.IsZero() {
		t.Errorf("provable within a tick: %v", got)
	}
	if got := p.provable(7, at(2), tick); !got.at.Equal(at(0)) {
		t.Errorf("provable after a tick: %v", got)
	}
	if got := p.provable(8, at(2), tick); !got.at.IsZero() {
		t.Errorf("provable over another connection: %v", got)
	}
	p.add(7, at(2), at(2), true, tick)
	p.add(8, at(5), at(5), true, tick) // whatever was known of the connection before is void
	if p.epoch != 8 || !p.at.IsZero() || len(p.asked) != 1 {
		t.Errorf("after a reconnect: %+v", p)
	}
}

// A leader whose heartbeats follow each other as an elector's do needs no sync, and
// one whose heartbeats are rare sends some, so that its proof is never older than
// declared.
func TestSyncsOfALeader(t *testing.T) {
	const answer = 2 * time.Millisecond
	for _, c := range []struct {
		o     Options
		every time.Duration // 0 for an elector's own choice
		syncs bool
	}{
		{Options{}, 0, false},
		{Options{SessionTimeout: 8 * time.Second}, 0, false},
		{Options{SessionTimeout: 10 * time.Second}, 0, false},
		{Options{SessionTimeout: 2 * time.Second, Tick: 100 * time.Millisecond}, 0, false},
		{Options{SessionTimeout: time.Minute}, 0, false},
		{Options{SessionTimeout: 11 * time.Second}, 0, true}, // two heartbeats are a little less than a tick
		{Options{}, time.Second, false},
		{Options{}, 5 * time.Second, true},
	} {
		o := c.o.withDefaults()
		every := c.every
		if every == 0 {
			margin := max(10*time.Millisecond, o.SessionTimeout/100, min(o.SessionTimeout/10, time.Second))
			every = (o.SessionTimeout - margin - shortening(o)) / 3
		}
		var p proofs
		start := time.Now()
		now, next := start, start
		syncs, eldest := 0, time.Duration(0)
		most := oldest(o)
		for now.Sub(start) < 20*o.SessionTimeout {
			due := p.due(7, start, most, most/2, o.Tick)
			if !next.After(due) {
				now = later(now, next)
				eldest = max(eldest, now.Sub(later(p.at, start)))
				next = now.Add(every)
			} else {
				now = later(now, due)
				syncs++
			}
			p.add(7, now, now.Add(answer), true, o.Tick)
			now = now.Add(answer)
		}
		if eldest > shortening(o) || (syncs > 0) != c.syncs {
			t.Errorf("%v with a tick of %v, a heartbeat every %v: %d syncs, proofs as old as %v, declared are %v",
				o.SessionTimeout, o.Tick, every, syncs, eldest, shortening(o))
		}
		if len(p.asked) > 100 {
			t.Errorf("%d requests are kept", len(p.asked))
		}
	}
}
