package main

import (
	"errors"
	"os"

	"github.com/palabre-app/palabre/node"
	"github.com/palabre-app/palabre/node/api"
)

// session is whoever carries out this command: the palabre that runs on the
// profile, or the profile opened here.
type session struct {
	api.Backend
	close func() error
}

// open finds who carries out a command. Running says that only a palabre that
// runs can: it has the network.
func (f *face) open(running bool) (*session, error) {
	dir, err := f.dir()
	if err != nil {
		return nil, err
	}
	client, err := api.Dial(dir)
	if err == nil {
		return &session{Backend: client, close: func() error { return nil }}, nil
	}
	if !errors.Is(err, api.ErrNotRunning) {
		return nil, err
	}
	// Asked for before the passphrase is.
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, code(api.CodeProfileMissing)
	}
	if running {
		return nil, api.ErrNotRunning
	}
	n, err := f.openNode(node.Config{Dir: dir, Offline: true})
	if err != nil {
		return nil, err
	}
	return &session{Backend: n, close: n.Close}, nil
}

// openNode opens the profile, and wipes the passphrase after.
func (f *face) openNode(cfg node.Config) (*node.Node, error) {
	pass, err := f.passphrase()
	if err != nil {
		return nil, err
	}
	defer clear(pass)
	cfg.Passphrase = pass
	return node.Open(cfg)
}

// call runs one command and returns its result.
func call[R any](f *face, running bool, command string, args any) (result R, err error) {
	s, err := f.open(running)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return api.Call[R](f.ctx, s, command, args)
}

// act runs one command, prints its result, and for people what people says.
func act[R any](f *face, running bool, command string, args any, people func(R)) error {
	result, err := call[R](f, running, command, args)
	if err != nil {
		return err
	}
	return f.print(result, func() { people(result) })
}
