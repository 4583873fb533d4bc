package api

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The rights of the file are opened on purpose, so that only the question to
// the kernel keeps the stranger out.
func TestAnotherUserIsNotHeard(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("CI") == "" {
		t.Skip("only root can become another user")
	}
	b := echo()
	s := serve(t, b)
	path := filepath.Join(s.dir, socketName)
	for p := path; p != filepath.Clean(os.TempDir()) && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		uid  int
		want bool
	}{{0, true}, {65534, false}} {
		heard, err := helloAs(path, c.uid)
		if err != nil {
			t.Fatal(err)
		}
		if heard != c.want {
			t.Errorf("user %d was heard: %v", c.uid, heard)
		}
	}
}

// helloAs says hello as another user, and tells whether it was answered. The
// thread that became somebody else ends with its goroutine.
func helloAs(path string, uid int) (heard bool, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
			err = e
			return
		}
		fd, e := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if e != nil {
			err = e
			return
		}
		defer unix.Close(fd)
		if err = unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return
		}
		request := "GET " + pathHello + " HTTP/1.1\r\nHost: " + hostName + "\r\nConnection: close\r\n\r\n"
		if e := unix.Send(fd, []byte(request), unix.MSG_NOSIGNAL); errors.Is(e, unix.EPIPE) || errors.Is(e, unix.ECONNRESET) {
			return // closed before it could speak
		}
		n, e := unix.Read(fd, make([]byte, 512))
		heard = e == nil && n > 0
	}()
	<-done
	return heard, err
}
