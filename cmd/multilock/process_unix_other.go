//go:build unix && !linux

package main

import "syscall"

// dieWithParent: these systems cannot tie a child to its parent's life.
func dieWithParent(*syscall.SysProcAttr) {}
