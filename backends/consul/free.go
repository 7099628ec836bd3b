package consul

import "github.com/hashicorp/consul/api"

// maxFree bounds how many keys are remembered.
const maxFree = 1000

// saw remembers the key of a group while it is free, so that the next attempt need
// not read it. It may be old: the transaction of the attempt fails unless the key
// still has the same index, and so the same value.
func (s *store) saw(group string, p *api.KVPair) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p == nil || locked(p) {
		delete(s.free, group)
		return
	}
	if len(s.free) >= maxFree { // groups that nobody came back to
		clear(s.free)
	}
	s.free[group] = p
}

// takeFree returns what is remembered of the key of a group, nil if nothing is, and
// forgets it: what comes of the attempt makes it old.
func (s *store) takeFree(group string) *api.KVPair {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.free[group]
	delete(s.free, group)
	return p
}
