//go:build !windows

package main

// terminalName opens the terminal that the process sits at.
const terminalName = "/dev/tty"
