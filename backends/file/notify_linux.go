package file

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// inotifyMask leaves out IN_MODIFY: renewals are silent.
const inotifyMask = unix.IN_CLOSE_WRITE | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE | unix.IN_MOVED_FROM |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// inotify is one inotify instance for all groups of a Backend. It is used
// directly, because the portable wrappers do not report a close after writing,
// which is what a resign and a death have in common.
type inotify struct {
	disk  *hostDisk
	file  *os.File
	fd    int
	event func(change)
	done  chan struct{}

	mu     sync.Mutex
	groups map[int32]string
	ids    map[string]int32
}

func (d *hostDisk) notifier(event func(change)) (notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("file: inotify: %w", err)
	}
	n := &inotify{
		disk:   d,
		file:   os.NewFile(uintptr(fd), "inotify"), // non-blocking: Close ends a Read
		fd:     fd,
		event:  event,
		done:   make(chan struct{}),
		groups: map[int32]string{},
		ids:    map[string]int32{},
	}
	go n.run()
	return n, nil
}

func (n *inotify) add(group string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	id, err := unix.InotifyAddWatch(n.fd, n.disk.groupPath(group), inotifyMask)
	if err != nil {
		return err
	}
	n.groups[int32(id)], n.ids[group] = group, int32(id)
	return nil
}

func (n *inotify) remove(group string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id, ok := n.ids[group]; ok {
		n.forget(id)
		_, _ = unix.InotifyRmWatch(n.fd, uint32(id)) // it may be gone with its directory
	}
}

// forget drops the names of a watch; under mu.
func (n *inotify) forget(id int32) {
	group := n.groups[id]
	delete(n.groups, id)
	if n.ids[group] == id {
		delete(n.ids, group)
	}
}

func (n *inotify) close() error {
	err := n.file.Close()
	<-n.done
	return err
}

func (n *inotify) run() {
	defer close(n.done)
	const header = unix.SizeofInotifyEvent
	buf := make([]byte, 64<<10)
	for {
		got, err := n.file.Read(buf)
		if err != nil {
			return // closed
		}
		for p := buf[:got]; len(p) >= header; {
			id := int32(binary.NativeEndian.Uint32(p))
			mask := binary.NativeEndian.Uint32(p[4:])
			length := int(binary.NativeEndian.Uint32(p[12:]))
			name := strings.TrimRight(string(p[header:header+length]), "\x00")
			p = p[header+length:]
			n.dispatch(id, mask, name)
		}
	}
}

func (n *inotify) dispatch(id int32, mask uint32, name string) {
	if mask&unix.IN_Q_OVERFLOW != 0 {
		n.event(change{kind: changesMissed})
		return
	}
	n.mu.Lock()
	group, ok := n.groups[id]
	gone := mask&(unix.IN_IGNORED|unix.IN_DELETE_SELF|unix.IN_MOVE_SELF|unix.IN_UNMOUNT) != 0
	if ok && gone {
		n.forget(id)
		if mask&unix.IN_MOVE_SELF != 0 {
			_, _ = unix.InotifyRmWatch(n.fd, uint32(id)) // the directory lives on under another name
		}
	}
	n.mu.Unlock()
	if !ok {
		return
	}
	if gone {
		n.event(change{kind: groupGone, group: group})
		return
	}
	c := change{group: group, gen: parseGeneration(name)}
	if c.gen == 0 {
		return
	}
	switch {
	case mask&unix.IN_CLOSE_WRITE != 0:
		c.kind = generationClosed
	case mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0:
		c.kind = generationAdded
	default:
		c.kind = generationRemoved
	}
	n.event(c)
}
