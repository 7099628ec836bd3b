package multilock

import (
	"sync"

	"github.com/multilock/multilock-go/core/driver"
)

// What follows exists so that the simulation can switch a safety rule off and
// show that its oracle notices; internal/seam says which. Nothing else calls it.

var reused sync.Map // *Elector -> driver.Nonce

// reusedNonce gives an elector one nonce for all its attempts.
func (b *Backend) reusedNonce(e *Elector) driver.Nonce {
	n, _ := reused.LoadOrStore(e, driver.NewNonce())
	return n.(driver.Nonce)
}

// revive brings an ended term back because of a late reply.
func (e *Elector) revive(l *live, next *belief) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run == nil || e.current.Load() != nil {
		return false
	}
	l.believed.Store(next)
	e.current.Store(l)
	return true
}
