//go:build unix

package main

import (
	"os/exec"
	"syscall"
)

// detach takes the terminal away from a program, so that it can ask nobody.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
