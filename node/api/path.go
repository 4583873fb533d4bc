package api

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// socketName is the file of the socket in the profile folder.
const socketName = "palabre.sock"

// MaxSocketPath is the longest path that a socket gets, in bytes. Systems allow
// 104 or 108; a path of more fails with words that help nobody.
const MaxSocketPath = 100

// SocketPath returns where a running node listens for the profile: in the
// profile folder, or in the user's runtime folder if that path is too long. It
// makes the runtime folder if it has to. The profile folder must exist.
func SocketPath(profile string) (string, error) {
	dir, err := realPath(profile)
	if err != nil {
		return "", err
	}
	if p := filepath.Join(dir, socketName); len(p) <= MaxSocketPath {
		return p, nil
	}
	folder, err := runtimeFolder()
	if err != nil {
		return "", err
	}
	p := filepath.Join(folder, runtimeName(dir))
	if len(p) > MaxSocketPath {
		return "", fmt.Errorf("the path of the runtime folder is over %d bytes", MaxSocketPath-len(runtimeName(dir)))
	}
	return p, nil
}

// realPath makes two ways to write one folder the same.
func realPath(profile string) (string, error) {
	dir, err := filepath.Abs(profile)
	if err != nil {
		return "", fmt.Errorf("find the profile folder: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("find the profile folder: %w", err)
	}
	return dir, nil
}

// runtimeName gives a profile a short file name of its own. The hash is only a
// name: whoever reads the folder is the user already. 128 bits, so that no two
// profiles meet.
func runtimeName(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "palabre-" + hex.EncodeToString(sum[:16]) + ".sock"
}

// runtimeFolder is XDG_RUNTIME_DIR where that is private and short enough, else
// /tmp/palabre-UID, which is made. A folder that somebody else owns or can open
// is an error there: in /tmp anybody may have put it.
func runtimeFolder() (string, error) {
	if d := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) &&
		len(filepath.Join(d, runtimeName(""))) <= MaxSocketPath && private(d) == nil {
		return d, nil
	}
	d := filepath.Join("/tmp", "palabre-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make the runtime folder: %w", err)
	}
	if err := private(d); err != nil {
		return "", err
	}
	return d, nil
}

// private says whether d is a real folder that only this user can open.
func private(d string) error {
	info, err := os.Lstat(d)
	if err != nil {
		return fmt.Errorf("look at the runtime folder: %w", err)
	}
	if !info.IsDir() || info.Mode().Perm() != 0o700 || !ownedByMe(info) {
		return fmt.Errorf("%s is not a folder of mode 0700 that belongs to you", d)
	}
	return nil
}
