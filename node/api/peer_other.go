//go:build !linux && !darwin && !freebsd

package api

import (
	"net"
	"runtime"
)

// sameUser cannot ask here. On Windows the rights of the profile folder, which
// is the user's alone, hold for the socket; elsewhere nobody is let in.
func sameUser(*net.UnixConn) bool { return runtime.GOOS == "windows" }
