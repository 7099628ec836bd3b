package zookeeper

import "testing"

func TestSingle(t *testing.T) {
	s := Start(t, Options{})
	if mode := s.Mode(); mode != "standalone" {
		t.Fatalf("mode %q", mode)
	}
	s.Restart()
	if mode := s.Mode(); mode != "standalone" {
		t.Fatalf("mode %q after a restart", mode)
	}
}

func TestEnsemble(t *testing.T) {
	modes := map[string]int{}
	for _, s := range StartEnsemble(t, Options{}) {
		modes[s.Mode()]++
	}
	if modes["leader"] != 1 || modes["follower"] != 2 {
		t.Fatalf("modes %v", modes)
	}
}
