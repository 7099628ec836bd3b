package consul

import (
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/multilock/multilock-go/core/driver"
)

// attempts is a sink whose attempts are over at once.
type attempts struct {
	mu     sync.Mutex
	n      int
	result func()
}

func (a *attempts) Wake(string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	if a.result != nil {
		a.result()
	}
}

func (a *attempts) WakeAll() {}

func (a *attempts) Lost(string, driver.Nonce) {}

// watched is a watch that has seen its group led, with the index 10.
func watched(t *testing.T) (*store, *keyWatch, *attempts) {
	t.Helper()
	s := newStore(nil, Options{})
	t.Cleanup(func() { _ = s.Close() })
	k := &attempts{}
	sub, err := s.Watch(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	w := &keyWatch{
		sub: sub.(*subscription), ctx: t.Context(), cancel: func() {}, group: "g", calm: time.Minute, tries: make(chan try, 1),
	}
	w.sub.queries["g"] = w
	if news, next := w.look(heldAt(10, "1"), 10, false); next != 10 || k.n != 0 {
		t.Fatalf("news %v, on from %d, %d wake-ups", news, next, k.n)
	}
	return s, w, k
}

func heldAt(index uint64, nonce string) *api.KVPair {
	return &api.KVPair{Session: "s", ModifyIndex: index, Value: record{Nonce: nonce}.encode()}
}

func freeAt(index uint64) *api.KVPair {
	return &api.KVPair{ModifyIndex: index, Value: record{Ended: "1"}.encode()}
}

// TestPollGoesOnFromTheAttempt: what an attempt has learned of a key is not polled
// for once more, and what came after it is told.
func TestPollGoesOnFromTheAttempt(t *testing.T) {
	for name, won := range map[string]bool{"lost": false, "won": true} {
		t.Run(name, func(t *testing.T) {
			s, w, k := watched(t)
			s.tried("g", try{nonce: "0", index: 9}) // of an attempt before; it is in nobody's way
			k.result = func() { s.tried("g", try{nonce: "2", index: 12, won: won}) }
			if news, next := w.look(freeAt(11), 11, false); !news || next != 12 || k.n != 1 {
				t.Fatalf("news %v, on from %d, %d wake-ups; want news, from 12, one", news, next, k.n)
			}
			if news, _ := w.look(heldAt(12, "2"), 12, false); news || k.n != 1 {
				t.Errorf("news %v, %d wake-ups: the attempt knows that", news, k.n)
			}
			if news, _ := w.look(freeAt(13), 13, false); !news || k.n != 2 {
				t.Errorf("news %v, %d wake-ups: it is free again", news, k.n)
			}
		})
	}
	t.Run("old", func(t *testing.T) {
		s, w, k := watched(t)
		k.result = func() { s.tried("g", try{nonce: "1", index: 10}) } // it read before the resignation
		if _, next := w.look(freeAt(11), 11, false); next != 11 {
			t.Errorf("on from %d, want 11: what came after is not known", next)
		}
	})
	t.Run("no attempt", func(t *testing.T) {
		_, w, k := watched(t)
		w.calm = time.Millisecond
		if _, next := w.look(freeAt(11), 11, false); next != 11 || k.n != 1 {
			t.Errorf("on from %d, %d wake-ups", next, k.n)
		}
	})
}

// TestRivalsTakeTurns: who was never beaten, or seldom, tries at once with what the
// poll has shown. Who was beaten often waits, and reads first if that was long.
func TestRivalsTakeTurns(t *testing.T) {
	s, w, k := watched(t)
	index := uint64(10)
	round := func(won bool) {
		k.result = func() { s.tried("g", try{nonce: "n", index: index + 2, won: won}) }
		w.look(freeAt(index+1), index+1, false)
		index += 2
	}
	for range few {
		if d := w.turn(); d != 0 {
			t.Fatalf("%d rivals: waits %v", w.rivals, d)
		}
		round(false)
		if s.takeFree("g") == nil {
			t.Fatal("who tries at once must not read first")
		}
	}
	for range 2 * maxRivals {
		w.rivals = min(w.rivals+1, maxRivals)
	}
	var longest time.Duration
	for range 1000 {
		d := w.turn()
		if d < 0 || d >= maxRivals*spacing {
			t.Fatalf("waits %v", d)
		}
		longest = max(longest, d)
	}
	if longest < maxRivals*spacing/4 {
		t.Errorf("waits at most %v", longest)
	}
	reads := 0
	for range 20 {
		round(false)
		if s.takeFree("g") == nil {
			reads++
		}
	}
	if w.rivals != maxRivals || reads == 0 {
		t.Errorf("%d rivals, %d of 20 attempts read first", w.rivals, reads)
	}
	round(true)
	if w.rivals != maxRivals/2 {
		t.Errorf("%d rivals after a success", w.rivals)
	}
}
