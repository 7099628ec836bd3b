package conformance

import (
	"context"
	"sync"

	"github.com/multilock/multilock-go/core/driver"
)

// nonces holds a Backend to the life of a nonce: one attempt, sent again only
// while no certain answer has come and no Resign was sent. A nil *nonces looks at
// nothing.
type nonces struct {
	r *run

	mu    sync.Mutex
	spent map[driver.Nonce]string // why it may not be sent again
	sends int
	again int // sends of a nonce that had been sent before
	seen  map[driver.Nonce]bool
}

func newNonces(r *run) *nonces {
	return &nonces{r: r, spent: map[driver.Nonce]string{}, seen: map[driver.Nonce]bool{}}
}

func (n *nonces) send(nonce driver.Nonce) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sends++
	if n.seen[nonce] {
		n.again++
	}
	n.seen[nonce] = true
	if why := n.spent[nonce]; why != "" {
		n.r.Errorf("an Acquire was sent with the nonce %.8s, which %s", nonce, why)
	}
}

// answer notes what an attempt came to. After the end of ctx nobody listened.
func (n *nonces) answer(ctx context.Context, nonce driver.Nonce, err error) {
	if n == nil || ctx.Err() != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch resultOf(err) {
	case "ok":
		n.spent[nonce] = "has begun a term already"
	case "held", "resigned":
		n.spent[nonce] = "was refused already"
	}
}

func (n *nonces) resign(nonce driver.Nonce) {
	if n == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.spent[nonce] = "was resigned already"
}

func (n *nonces) counts() (sends, again int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sends, n.again
}
