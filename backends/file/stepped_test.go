//go:build linux

package file

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/multilock/multilock-go/core/driver"
)

// stopAt acquires, renews twice and resigns, and stops itself before the n-th
// step on the disk.
func stopAt(d *fileDriver, n int, group, participant string, ttl time.Duration) {
	count := 0
	d.disk = steppedDisk{d.disk, func(step string) {
		count++
		if count == n {
			fmt.Println("stopping before", step)
			if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
				panic(err)
			}
			// The signal stops all threads a little later: this one goes no further
			// before it is told to.
			if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
				panic(err)
			}
		}
	}}
	term, deadline, err := attempt(d, group, participant, ttl)
	if err == nil {
		fmt.Println("granted", "acquire", deadline)
		for range 2 {
			t0 := boot()
			var r driver.RenewResult
			d.Renew(context.Background(), []driver.RenewRequest{{Term: term, TTL: ttl, Metadata: map[string]string{"a": "b"}}},
				func(x driver.RenewResult) { r = x })
			if r.Err == nil {
				fmt.Println("granted", "renew", t0+int64(r.Granted))
			}
		}
		fmt.Println("over", boot())
		// A term that is over is resigned all the same, as a best effort.
		_ = d.Resign(context.Background(), term)
	}
	fmt.Println("done")
}

// steppedDisk calls before in front of every step.
type steppedDisk struct {
	disk
	before func(step string)
}

func (s steppedDisk) identify() (string, error) { s.before("identify"); return s.disk.identify() }

func (s steppedDisk) open() error { s.before("open"); return s.disk.open() }

func (s steppedDisk) clock() (time.Duration, error) { s.before("clock"); return s.disk.clock() }

func (s steppedDisk) ensureGroup(g string) error {
	s.before("ensureGroup")
	return s.disk.ensureGroup(g)
}

func (s steppedDisk) generations(g string) ([]uint64, error) {
	s.before("generations")
	return s.disk.generations(g)
}

func (s steppedDisk) load(g string, gen uint64) ([]byte, error) {
	s.before("load")
	return s.disk.load(g, gen)
}

func (s steppedDisk) probe(o lockRef) liveness { s.before("probe"); return s.disk.probe(o) }

func (s steppedDisk) remove(g string, gen uint64) error {
	s.before("remove")
	return s.disk.remove(g, gen)
}

func (s steppedDisk) stage(image []byte) (recordFile, error) {
	s.before("stage")
	f, err := s.disk.stage(image)
	if err != nil {
		return nil, err
	}
	return steppedFile{f, s.before}, nil
}

type steppedFile struct {
	recordFile
	before func(step string)
}

func (s steppedFile) publish(g string, gen uint64) error {
	s.before("publish")
	return s.recordFile.publish(g, gen)
}

func (s steppedFile) begins(image []byte) (bool, error) {
	s.before("begins")
	return s.recordFile.begins(image)
}

func (s steppedFile) inPlace() (bool, error) { s.before("inPlace"); return s.recordFile.inPlace() }

func (s steppedFile) write(p []byte, at int64) error {
	s.before("write")
	return s.recordFile.write(p, at)
}

func (s steppedFile) close() error { s.before("close"); return s.recordFile.close() }
