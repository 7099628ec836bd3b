package file

import (
	"fmt"
	"path/filepath"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

var queryInterruptTime = windows.NewLazySystemDLL("kernelbase.dll").NewProc("QueryInterruptTime")

// bootClock reads the interrupt time in units of 100 ns. Unlike the "unbiased"
// one it counts sleep and hibernation; nothing sets it. It may tick only every
// 15.6 ms, which is why core keeps a larger margin on Windows.
func bootClock() (time.Duration, error) {
	if err := queryInterruptTime.Find(); err != nil {
		return 0, fmt.Errorf("file: QueryInterruptTime: %w", err)
	}
	var t uint64
	_, _, _ = queryInterruptTime.Call(uintptr(unsafe.Pointer(&t))) // void: it cannot fail
	return time.Duration(t) * 100, nil
}

// clockIdentity is the machine and its count of boots. The count is kept by the
// prefetcher; where that is off it may stand still, and then a record of the
// last boot is unmasked by an expiry further ahead than its TTL, or is truly
// expired or ownerless, since its owner died with that boot.
func clockIdentity() (string, error) {
	machine, err := registryString(`SOFTWARE\Microsoft\Cryptography`, "MachineGuid")
	if err != nil {
		return privateClock(), nil
	}
	boot, err := registryNumber(`SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`, "BootId")
	if err != nil {
		return privateClock(), nil
	}
	return "windows/" + machine + "/" + strconv.FormatUint(boot, 10), nil
}

func registryString(key, value string) (string, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, key, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return "", err
	}
	defer k.Close()
	s, _, err := k.GetStringValue(value)
	return s, err
}

func registryNumber(key, value string) (uint64, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, key, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return 0, err
	}
	defer k.Close()
	n, _, err := k.GetIntegerValue(value)
	return n, err
}

func networkFileSystem(path string) (string, bool, error) {
	from, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return "", false, err
	}
	volume := make([]uint16, max(windows.MAX_PATH, len(path)+2))
	if err := windows.GetVolumePathName(from, &volume[0], uint32(len(volume))); err != nil {
		return "", false, err
	}
	switch windows.GetDriveType(&volume[0]) {
	case windows.DRIVE_REMOTE:
		return "remote drive", true, nil
	case windows.DRIVE_UNKNOWN, windows.DRIVE_NO_ROOT_DIR:
		return "", false, fmt.Errorf("unknown kind of drive: %s", filepath.VolumeName(path))
	}
	return "", false, nil
}
