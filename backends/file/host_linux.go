package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// bootClock reads CLOCK_BOOTTIME: it counts suspend and cannot be set.
func bootClock() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, fmt.Errorf("file: CLOCK_BOOTTIME: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// clockIdentity names the clock. The boot id alone is not enough: a time
// namespace shifts CLOCK_BOOTTIME and keeps the boot id.
func clockIdentity() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		// A sandbox without /proc: nobody, not even a second Backend of this
		// process, can tell whether it shares our clock.
		return privateClock(), nil
	}
	namespace := uint64(0) // a kernel before 5.6 has none
	fi, err := os.Stat("/proc/self/ns/time")
	switch {
	case err == nil:
		st, ok := fi.Sys().(*syscall.Stat_t)
		if !ok {
			return privateClock(), nil
		}
		namespace = st.Ino
	case !errors.Is(err, fs.ErrNotExist):
		return privateClock(), nil
	}
	return fmt.Sprintf("linux/%s/%d", strings.TrimSpace(string(boot)), namespace), nil
}

// remoteFileSystems are those whose files another kernel may change, or whose
// locks and links are made in user space.
var remoteFileSystems = map[uint32]string{
	0x00006969: "nfs",
	0x0000517B: "smb",
	0xFE534D42: "smb2",
	0xFF534D42: "cifs",
	0x01021997: "9p",
	0x65735546: "fuse",
	0x00C36400: "ceph",
	0x0BD00BD0: "lustre",
	0x01161970: "gfs2",
	0x7461636F: "ocfs2",
	0x47504653: "gpfs",
	0x5346414F: "afs",
	0x6B414653: "kafs",
	0x73757245: "coda",
	0x0000564C: "ncp",
	0x20030528: "orangefs",
	0x19830326: "beegfs",
	0x786F4256: "vboxsf",
	0xBACBACBC: "vmhgfs",
	0xAAD7AAEA: "panfs",
	0x61636673: "acfs",
	0xBEEFDEAD: "snfs",
	0x013111A8: "ibrix",
	0x7C7C6673: "prl_fs",
}

func networkFileSystem(path string) (string, bool, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return "", false, err
		}
	}
	name, ok := remoteFileSystems[uint32(st.Type)] //nolint:gosec // the magic numbers are 32 bits wide whatever the field's type
	return name, ok, nil
}
