package file

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// bootClock reads CLOCK_MONOTONIC_RAW, which on macOS is mach_continuous_time:
// it counts sleep, and neither adjtime nor a set wall clock moves it.
// (CLOCK_UPTIME_RAW, Go's own monotonic clock, stops in sleep.)
func bootClock() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &ts); err != nil {
		return 0, fmt.Errorf("file: CLOCK_MONOTONIC_RAW: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// clockIdentity is the UUID the kernel makes at each boot. macOS has no time
// namespaces.
func clockIdentity() (string, error) {
	boot, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil || boot == "" {
		return privateClock(), nil
	}
	return "darwin/" + boot, nil
}

// networkFileSystem trusts the kernel's own mark, and refuses FUSE, which may
// carry it.
func networkFileSystem(path string) (string, bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", false, err
	}
	name := unix.ByteSliceToString(st.Fstypename[:])
	switch name {
	case "macfuse", "osxfuse", "fusefs", "fuse":
		return name, true, nil
	}
	return name, st.Flags&unix.MNT_LOCAL == 0, nil
}
