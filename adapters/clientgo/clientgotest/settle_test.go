package clientgotest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/multilock/multilock-go/adapters/clientgo"
	"github.com/multilock/multilock-go/backends/memory"
)

// TestANewTermWaitsUntilClientGoHasStopped: a term was lost shortly before the end of
// what client-go believes, or it was stopped for long and has not heard anything. The
// call that renews is then still trying, and must not find a new term.
func TestANewTermWaitsUntilClientGoHasStopped(t *testing.T) {
	record := func(l *clientgolock.Lock) resourcelock.LeaderElectionRecord {
		return resourcelock.LeaderElectionRecord{HolderIdentity: l.Identity(), LeaseDurationSeconds: int(lease / time.Second)}
	}
	for name, lose := range map[string]func(t *testing.T, store *memory.Store, l *clientgolock.Lock){
		"lost": func(t *testing.T, store *memory.Store, l *clientgolock.Lock) {
			time.Sleep(belief - retry)
			store.Remove("controller")
			if err := l.Update(t.Context(), record(l)); err == nil {
				t.Fatal("renewed without a record")
			}
			time.Sleep(retry + time.Millisecond) // nothing is believed any more of what was told
		},
		"stopped for long": func(*testing.T, *memory.Store, *clientgolock.Lock) { time.Sleep(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, told := range []bool{true, false} { // client-go says that it has stopped, or time passes
				synctest.Test(t, func(t *testing.T) {
					store := memory.NewStore()
					b, _ := backend(t, store)
					l := lock(t, b, nil)
					if err := l.Create(t.Context(), record(l)); err != nil {
						t.Fatal(err)
					}
					l.RecordEvent("became leader")
					lose(t, store, l)
					first := time.Now()
					for time.Since(first) < renew {
						if err := l.Create(t.Context(), record(l)); !errors.Is(err, clientgolock.ErrSettling) {
							t.Fatalf("%v after its first failure client-go is told %v", time.Since(first), err)
						}
						time.Sleep(retry / 2)
					}
					if told {
						l.RecordEvent("stopped leading")
					} else {
						time.Sleep(belief)
					}
					if err := l.Create(t.Context(), record(l)); err != nil {
						t.Errorf("a new election: %v", err)
					}
				})
			}
		})
	}
}
