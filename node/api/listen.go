package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// socket is a listener whose file nobody but this user ever could open, and
// that passes on only connections of this user.
type socket struct {
	*net.UnixListener
	path string
	file fs.FileInfo // what was put at path
}

// listen puts a socket at path, over one that a crash left behind. It refuses
// to touch anything that is no socket. The caller holds the profile's lock, so
// that no running node is pushed aside.
func listen(path string) (*socket, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s is in the way of the control socket", path)
	}
	// A socket is born with the rights of the umask. It is made under another
	// name, in a folder of mode 0700, and appears only when it is closed to
	// others.
	nest, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	defer os.RemoveAll(nest)
	born := filepath.Join(nest, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: born, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it would remove the name that is gone
	s := &socket{UnixListener: l, path: path}
	if err = os.Chmod(born, 0o600); err == nil {
		if s.file, err = os.Lstat(born); err == nil {
			err = os.Rename(born, path)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the control socket: %w", err), l.Close())
	}
	return s, nil
}

// Accept returns the next connection of this user; others are closed unheard.
func (s *socket) Accept() (net.Conn, error) {
	for {
		c, err := s.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if sameUser(c) {
			return c, nil
		}
		_ = c.Close()
	}
}

// Close stops listening and takes the file away, unless another took its place.
func (s *socket) Close() error {
	err := s.UnixListener.Close()
	if info, found := os.Lstat(s.path); found == nil && os.SameFile(info, s.file) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}
