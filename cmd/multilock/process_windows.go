//go:build windows

package main

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// forwarded: Windows has no signals to forward.
var forwarded = []os.Signal{os.Interrupt}

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// Windows can only kill: a polite end needs a console event that many programs
// ignore.
func signalGroup(cmd *exec.Cmd, _ os.Signal) { _ = cmd.Process.Kill() }
func killGroup(cmd *exec.Cmd)                { _ = cmd.Process.Kill() }

func freeze(*os.Process) error     { return errors.ErrUnsupported }
func thaw(*os.Process) error       { return errors.ErrUnsupported }
func politely(p *os.Process) error { return p.Kill() }

const canFreeze = false
