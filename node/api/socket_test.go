package api

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSocketIsClosedToOthers(t *testing.T) {
	s := serve(t, echo())
	path := filepath.Join(s.dir, socketName)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket has mode %v", info.Mode())
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestLongProfilePathUsesTheRuntimeFolder(t *testing.T) {
	runtime := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	long := filepath.Join(shortDir(t), strings.Repeat("d", 90))
	other := long + "2"
	for _, d := range []string{long, other} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	one, err := SocketPath(long)
	if err != nil {
		t.Fatal(err)
	}
	two, err := SocketPath(other)
	if err != nil {
		t.Fatal(err)
	}
	if one == two || filepath.Dir(one) != runtime || len(one) > MaxSocketPath {
		t.Errorf("sockets at %s and %s", one, two)
	}
	l, err := Listen(long)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Serve(ctx, echo()) }()
	if _, err := Dial(long); err != nil {
		t.Error(err)
	}
	if _, err := Dial(other); !errors.Is(err, ErrNotRunning) {
		t.Errorf("another profile: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A runtime folder that others can open is passed over, and one in /tmp that
	// is a link or open to others is an error.
	if err := os.Chmod(runtime, 0o755); err != nil {
		t.Fatal(err)
	}
	if p, err := SocketPath(long); err != nil || filepath.Dir(p) == runtime {
		t.Errorf("an open runtime folder: %s, %v", p, err)
	}
	if private(runtime) == nil {
		t.Error("a folder of mode 0755 is private")
	}
	link := filepath.Join(shortDir(t), "link")
	closed := shortDir(t)
	if err := os.Symlink(closed, link); err != nil {
		t.Fatal(err)
	}
	if private(link) == nil {
		t.Error("a link to a private folder is private")
	}
	if err := private(closed); err != nil {
		t.Error(err)
	}
}

func TestSocketPathBounds(t *testing.T) {
	base := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", shortDir(t))
	for _, n := range []int{MaxSocketPath, MaxSocketPath + 1} {
		dir := filepath.Join(base, strings.Repeat("p", n-len(base)-len(socketName)-2))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		p, err := SocketPath(dir)
		if err != nil {
			t.Fatal(err)
		}
		if inside := filepath.Dir(p) == dir; inside != (n <= MaxSocketPath) {
			t.Errorf("a path of %d bytes: %s", n, p)
		}
		s, err := Listen(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStaleSocketIsNoRunningNode(t *testing.T) {
	dir := shortDir(t)
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	if _, err := Dial(filepath.Join(dir, "none")); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no folder: %v", err)
	}
	path := filepath.Join(dir, socketName)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false) // as a crash leaves it
	l.Close()
	if _, err := Dial(dir); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a stale socket: %v", err)
	}
	s, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Nothing but a socket is replaced.
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(dir); err == nil {
		t.Error("a file was taken for a socket")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "mine" {
		t.Errorf("the file is %q, %v", b, err)
	}
}

func TestCloseLeavesTheSocketOfAnother(t *testing.T) {
	dir := shortDir(t)
	first, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, socketName)); err != nil {
		t.Errorf("the second socket is gone: %v", err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestDialFollowsLinksToTheProfile(t *testing.T) {
	s := serve(t, echo())
	link := filepath.Join(shortDir(t), "profile")
	if err := os.Symlink(s.dir, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(link); err != nil {
		t.Error(err)
	}
}
