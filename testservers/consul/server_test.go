//go:build unix

package consul

import (
	"context"
	"testing"
	"time"
)

func TestSingleServer(t *testing.T) {
	s := Start(t, Options{SessionTTLMin: time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	if err := s.ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestACL(t *testing.T) {
	s := Start(t, Options{ACLToken: "5f6a1f0e-0f3c-4c65-8d8e-3f52a5a6a001"})
	s.token = "5f6a1f0e-0f3c-4c65-8d8e-3f52a5a6a002"
	if err := s.get(t.Context(), "/v1/agent/self", new(any)); err == nil {
		t.Fatal("an unknown token is accepted")
	}
}

func TestClusterElectsAnotherLeader(t *testing.T) {
	servers := StartCluster(t, 3, Options{})
	first := Leader(t, servers)
	first.Kill()
	if second := Leader(t, servers); second == first {
		t.Fatal("a dead server leads")
	}
}
