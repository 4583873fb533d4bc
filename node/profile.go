package node

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/node/store"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/wire"
)

// keyFile is the name of the sealed key file in a profile's folder (spec 85).
const keyFile = "key"

// suffixNew follows the name of a key file whose profile is not whole yet.
const suffixNew = ".new"

// Tables of the profile's own records, in the zero space of the store (spec 80).
const (
	tableProfile engine.Table = 1 // "name", "port", "cap"
	tableGroups  engine.Table = 2 // group id -> groupRecord
	tableWorked  engine.Table = 3 // group id -> the last addresses that worked
	tableGiven   engine.Table = 4 // address given by hand -> nothing
	tableUse     engine.Table = 5 // day -> bytes on that day, by purpose
)

var (
	keyName = []byte("name")
	keyPort = []byte("port")
)

// errExists says that there is a profile in the folder already.
var errExists = errors.New("a profile exists already")

// errNoProfile says that there is none.
var errNoProfile = errors.New("no profile")

// Create makes a profile: the folder, the sealed key file and the store with the
// person's name in it. An existing profile is left alone (CodeProfileExists). A
// creation that was cut short is begun anew by the next call.
func Create(dir, name string, passphrase []byte) error {
	return problem(create(dir, name, passphrase))
}

func create(dir, name string, passphrase []byte) error {
	if err := feed.CheckName(name); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, keyFile)
	if _, err := os.Lstat(path); err == nil {
		return errExists
	}
	master, err := identity.NewMasterKey(rand.Reader)
	if err != nil {
		return err
	}
	sealed, err := identity.SealKeyFile(passphrase, master, identity.DefaultKeyFileParams(), rand.Reader)
	debug.FreeOSMemory()
	if err != nil {
		return err
	}
	// A key file is what makes a folder a profile, so it gets its name last. Under
	// another name it marks a store that nobody has used yet; a store without
	// either has lost its key, and is not ours to erase.
	_, err = os.Lstat(path + suffixNew)
	if err := eraseUnused(dir, err == nil); err != nil {
		return err
	}
	if err := store.WriteFile(path+suffixNew, sealed); err != nil {
		return err
	}
	if err := createStore(dir, name, master); err != nil {
		return err
	}
	if err := os.Rename(path+suffixNew, path); err != nil {
		return err
	}
	return store.SyncFolder(dir)
}

func createStore(dir, name string, master identity.MasterKey) error {
	db, err := store.Open(dir, master.Bytes())
	if err != nil {
		return err
	}
	port, err := freePort(func(uint16) bool { return false })
	if err == nil {
		err = db.Commit(store.Space{}, engine.Batch{Puts: []engine.Record{
			{Table: tableProfile, Key: keyName, Value: []byte(name)},
			{Table: tableProfile, Key: keyPort, Value: wire.Marshal(port)},
		}})
	}
	return errors.Join(err, db.Close())
}

// eraseUnused takes away the store of a creation that was cut short; any other
// store is an error.
func eraseUnused(dir string, unused bool) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "store.") {
			if !unused {
				return errExists
			}
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// openProfile opens the key file, then the store, which holds the lock.
func openProfile(dir string, passphrase []byte) (*store.DB, error) {
	sealed, err := os.ReadFile(filepath.Join(dir, keyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoProfile
	}
	if err != nil {
		return nil, err
	}
	master, err := identity.OpenKeyFile(sealed, passphrase)
	// Stretching the passphrase took 64 MiB that are not needed again.
	debug.FreeOSMemory()
	if err != nil {
		return nil, err
	}
	return store.Open(dir, master.Bytes())
}
