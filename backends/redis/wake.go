package redis

import (
	"math/rand/v2"
	"strconv"
	"time"
)

// Followers that are all woken at once stand in each other's way: the attempt that
// wins is served among all the others. So, of many, about atATime take each turn,
// or more where that would be more than mostTurns. A turn is a millisecond, since
// a process that is idle does not measure shorter ones.
const (
	atATime   = 3
	mostTurns = 10
	aTurn     = time.Millisecond
)

// turn is how long to keep back a wake-up with this payload: about how many hear
// it, or nothing if that is not known. Whatever else it is, by whomever, wakes at
// once. Turns are taken at random, so that nobody is favoured.
func turn(payload string) time.Duration {
	n, err := strconv.Atoi(payload)
	if err != nil {
		return 0
	}
	return time.Duration(rand.IntN(min(max(n/atATime, 1), mostTurns))) * aTurn
}

// wake passes a wake-up on after d, unless its watch has ended by then: whoever has
// watched anew since looks after that.
func (w *watch) wake(group string, d time.Duration) {
	if d == 0 {
		w.sink.Wake(group)
		return
	}
	w.mu.Lock()
	g := w.groups[group]
	w.mu.Unlock()
	w.wg.Add(1) // Close waits: nothing is passed on after it
	time.AfterFunc(d, func() {
		defer w.wg.Done()
		w.mu.Lock()
		same := w.groups[group] == g && !w.closed
		w.mu.Unlock()
		if same {
			w.sink.Wake(group)
		}
	})
}
