package conformance

import "time"

// pair is a leader and a follower of one group, watched.
type pair struct {
	w        *witness
	a, b     *node
	leader   *candidate
	follower *candidate
	first    belief
}

// pair brings a to the lead and then lets b follow.
func (r *run) pair(a, b *node) *pair {
	p := &pair{w: r.witness(), a: a, b: b}
	group := r.group()
	p.leader = p.w.campaign(a, group)
	p.first = p.w.leads(0, r.recovery(a), "the first elector leads")
	p.follower = p.w.campaign(b, group)
	return p
}

// over waits until the first leader's belief has ended, and returns when.
func (p *pair) over(patience time.Duration, what string) {
	p.w.r.eventually(patience, what, func() bool {
		p.w.mu.Lock()
		defer p.w.mu.Unlock()
		return !p.w.all[0].over.IsZero()
	})
}

// stays fails the rule unless the first leader leads on, without a break.
func (p *pair) stays(what string) {
	if b, held := p.w.last(); !held || b.token != p.first.token {
		p.w.r.Errorf("%s: the leader did not stay (token %d, then %d)", what, p.first.token, b.token)
	}
	p.w.check()
}
