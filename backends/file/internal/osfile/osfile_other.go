//go:build !linux && !darwin && !windows

package osfile

import "os"

// Open is not supported here.
func Open(string, int) (*os.File, error) { return nil, ErrPlatform }

// TryLock is not supported here.
func TryLock(*os.File, bool) (bool, error) { return false, ErrPlatform }

// Inode is not supported here.
func Inode(*os.File) (uint64, error) { return 0, ErrPlatform }

// SyncDirectory is not supported here.
func SyncDirectory(string) error { return ErrPlatform }
