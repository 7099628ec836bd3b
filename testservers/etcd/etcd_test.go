//go:build unix

package etcd

import (
	"context"
	"testing"

	"github.com/multilock/multilock-go/testservers/proc"
)

func TestServerAnswersAndRestarts(t *testing.T) {
	s := Start(t)
	if err := s.healthy(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	if err := proc.Dials(s.Addr)(context.Background()); err == nil {
		t.Fatal("it still answers after Kill")
	}
	s.Start()
	if err := s.healthy(context.Background()); err != nil {
		t.Fatal(err)
	}
}
