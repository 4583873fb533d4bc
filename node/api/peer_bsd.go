//go:build darwin || freebsd

package api

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// solLocal is SOL_LOCAL, which some tables do not name.
const solLocal = 0

// sameUser asks the kernel who is at the other end of the connection.
func sameUser(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var cred *unix.Xucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED)
	}); err != nil || failed != nil {
		return false
	}
	return allowed(cred.Uid, os.Geteuid())
}
