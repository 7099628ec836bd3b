package multilock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTryAcquireAlone(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		a, other := newElector(t, b, Options{}), newElector(t, b, Options{})
		seq := a.Changes(t.Context(), All)
		if won, err := a.TryAcquire(t.Context()); !won || err != nil {
			t.Fatal(won, err)
		}
		if st := a.Status(); st.State != StateManual || !st.IsLeader() {
			t.Errorf("state %v", st.State)
		}
		if won, err := other.TryAcquire(t.Context()); won || err != nil {
			t.Errorf("the second won: %v, %v", won, err)
		}
		if other.Status().State != StateStopped {
			t.Error("a failed attempt left the elector running")
		}
		if err := a.Start(t.Context()); err != ErrRunning {
			t.Errorf("Start while a term is held = %v", err)
		}
		time.Sleep(10 * time.Minute)
		if !a.IsLeader() {
			t.Error("not renewed")
		}
		if err := a.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		var kinds []Kind
		for c := range seq {
			kinds = append(kinds, c.Kind)
		}
		if len(kinds) != 3 || kinds[0] != Acquired || kinds[1] != Lost || kinds[2] != Stopped {
			t.Errorf("changes %v", kinds)
		}
		if won, err := other.TryAcquire(t.Context()); !won || err != nil {
			t.Errorf("after Resign: %v, %v", won, err)
		}
		s.drop("g")
		time.Sleep(time.Minute)
		if st := other.Status().State; st != StateStopped {
			t.Errorf("after its loss: %v", st)
		}
	})
}

func TestTryAcquireOnAStartedElector(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		leader, e := newElector(t, b, Options{}), newElector(t, b, Options{})
		lead(t, leader)
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := s.count("acquire")
		if won, err := e.TryAcquire(t.Context()); won || err != nil {
			t.Errorf("TryAcquire = %v, %v", won, err)
		}
		if s.count("acquire") != before+1 {
			t.Error("no attempt was made")
		}
		s.drop("g") // free, and nobody is told
		if won, err := e.TryAcquire(t.Context()); !won || err != nil || !e.IsLeader() {
			t.Errorf("TryAcquire on a free group = %v, %v", won, err)
		}
	})
}

// A term that is given back at once asks for no watch; one that is kept does, and
// its end ends the watch.
func TestTryAcquireWatchesOnlyWhatIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, s *fakeStore, b *Backend) {
		e := newElector(t, b, Options{})
		watched := func() int { synctest.Wait(); return b.Stats().Watched }
		for range 3 {
			if won, err := e.TryAcquire(t.Context()); !won || err != nil {
				t.Fatalf("TryAcquire = %v, %v", won, err)
			}
			if n := watched(); n != 0 {
				t.Errorf("%d groups are watched right after TryAcquire", n)
			}
			if err := e.Resign(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if n := watched(); n != 0 {
			t.Errorf("%d groups are watched after all terms have ended", n)
		}
		if won, err := e.TryAcquire(t.Context()); !won || err != nil {
			t.Fatalf("TryAcquire = %v, %v", won, err)
		}
		time.Sleep(e.Options().HeartbeatInterval + time.Second)
		if n := watched(); n != 1 {
			t.Errorf("%d groups are watched while a term is kept", n)
		}
		if err := e.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := watched(); n != 0 {
			t.Errorf("%d groups are watched after the end", n)
		}
	})
}
