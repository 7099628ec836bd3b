//go:build linux

package main

import "syscall"

// dieWithParent keeps a command from outliving a multilock that was killed: its
// lease is not renewed any more.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
