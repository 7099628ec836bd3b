//go:build unix

package child

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/bench/internal/calls"
	"github.com/multilock/multilock-go/bench/internal/rival"
	multilock "github.com/multilock/multilock-go/core"
	"github.com/multilock/multilock-go/core/driver"
)

// Main is the child: it takes part in elections until its parent is gone.
func Main() {
	in := bufio.NewReader(os.Stdin)
	w := &worker{out: json.NewEncoder(os.Stdout)}
	line, err := in.ReadBytes('\n')
	var t Task
	if err == nil {
		err = json.Unmarshal(line, &t)
	}
	if err == nil {
		err = w.begin(context.Background(), t)
	}
	if err != nil {
		w.tell(event{Err: err.Error()})
	}
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF || err != nil {
			os.Exit(0)
		}
		if strings.TrimSpace(line) == "stats" {
			s := w.stats()
			w.tell(event{Stats: &s})
		}
	}
}

type worker struct {
	mu  sync.Mutex
	out *json.Encoder

	baseBytes      uint64
	baseGoroutines int
}

func (w *worker) tell(e event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.out.Encode(e) // without a parent nobody cares
}

func (w *worker) begin(ctx context.Context, t Task) error {
	if t.Turns > 0 {
		results, err := calls.Measure(ctx, t.Turns)
		if err == nil {
			w.tell(event{Calls: results})
		}
		return err
	}
	if t.Library == "" {
		return w.electors(ctx, t)
	}
	r, err := rival.Named(t.Setting.Store, t.Library)
	if err != nil {
		return err
	}
	client, err := r.Connect(ctx, t.Setting)
	if err != nil {
		return err
	}
	for _, g := range t.Groups {
		c, err := client.Candidate(g, t.Name)
		if err != nil {
			return err
		}
		go func() {
			began := time.Now()
			if err := c.Lead(ctx); err != nil {
				w.tell(event{Err: fmt.Sprintf("%s: %v", g, err)})
				return
			}
			w.tell(event{Group: g, At: time.Now().UnixNano(), Began: began.UnixNano()})
		}()
	}
	w.tell(event{Campaigns: true})
	return nil
}

func (w *worker) electors(ctx context.Context, t Task) error {
	b, err := rival.Open(ctx, t.Setting)
	if err != nil {
		return err
	}
	w.baseBytes, w.baseGoroutines = inUse(), runtime.NumGoroutine()
	electors := make([]*multilock.Elector, len(t.Groups))
	for i, g := range t.Groups {
		e, err := multilock.New(b, multilock.Options{Group: g, ParticipantID: t.Name, HeartbeatTimeout: t.Setting.TTL})
		if err != nil {
			return err
		}
		electors[i] = e
		go func() {
			err := e.Run(ctx, func(work context.Context, _ multilock.Term) error {
				w.tell(event{Group: g, At: time.Now().UnixNano()})
				<-work.Done()
				return nil
			})
			w.tell(event{Err: fmt.Sprintf("%s: %v", g, err)})
		}()
	}
	go func() {
		for _, e := range electors {
			for e.Status().LeaderSeen.IsZero() {
				time.Sleep(10 * time.Millisecond)
			}
		}
		// What a store that pushes has not promised yet is still being asked for.
		for _, pushes := b.Driver().(driver.Watcher); pushes && b.Stats().Watched < len(electors); {
			time.Sleep(10 * time.Millisecond)
		}
		w.tell(event{Following: true})
	}()
	return nil
}

func (w *worker) stats() Stats {
	before, asked := CPU(), time.Now()
	s := Stats{
		Before: before, Asked: asked,
		Bytes: inUse(), BaseBytes: w.baseBytes, Goroutines: runtime.NumGoroutine(), BaseGoroutines: w.baseGoroutines,
		Connections: connections(),
	}
	s.CPU, s.At = CPU(), time.Now()
	return s
}

// CPU is the time that this process has computed.
func CPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// inUse is heap and stack after a collection.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// connections counts the established TCP connections of this process.
func connections() int {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	own := make(map[string]bool)
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil {
			if inode, ok := strings.CutPrefix(to, "socket:["); ok {
				own[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	n := 0
	for _, file := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			const state, inode, established = 3, 9, "01"
			if f := strings.Fields(line); len(f) > inode && f[state] == established && own[f[inode]] {
				n++
			}
		}
	}
	return n
}
