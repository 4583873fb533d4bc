package store

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteFile writes a file for this user alone, which stands beside a store in its
// folder. Its bytes and its name are on the disk when it returns; what had the name
// before is lost, also where it fails. Errors are the file system's.
func WriteFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}
