// Package mobile is the face that phone apps are built on, in the types that
// gomobile carries: strings, byte slices, integers and errors.
//
// Start with Open. What is promised: no call panics into the app; what is
// handed in is copied; nothing listens on the phone for other apps. It is the
// smallest face for now: open, close, post, list.
package mobile

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/palabre-app/palabre/node"
	"github.com/palabre-app/palabre/node/api"
)

// Profile is one open profile. Close it.
type Profile struct{ node *node.Node }

// Create makes a profile in the folder dir, for a person called name. The
// passphrase is the bytes that Open will need.
func Create(dir, name string, passphrase []byte) (err error) {
	defer guard(&err)
	return node.Create(strings.Clone(dir), strings.Clone(name), append([]byte(nil), passphrase...))
}

// Open opens the profile in the folder dir. It fails while the profile is in
// use elsewhere.
func Open(dir string, passphrase []byte) (p *Profile, err error) {
	defer guard(&err)
	n, err := node.Open(node.Config{Dir: strings.Clone(dir), Passphrase: append([]byte(nil), passphrase...), Offline: true})
	if err != nil {
		return nil, err
	}
	return &Profile{node: n}, nil
}

// Post saves an announcement in one language, a BCP 47 tag, and returns its id.
// group may be empty where the profile has one group.
func (p *Profile) Post(group, lang, title, body string) (id string, err error) {
	defer guard(&err)
	out, err := p.do("post", api.PostArgs{Group: group, Kind: "announcement",
		Texts: []api.Text{{Lang: lang, Title: title, Body: body}}})
	if err != nil {
		return "", err
	}
	var posted struct {
		ID string `json:"id"`
	}
	err = json.Unmarshal(out, &posted)
	return posted.ID, err
}

// List returns the group's active notices, newest first, as a JSON list.
func (p *Profile) List(group string) (notices string, err error) {
	defer guard(&err)
	out, err := p.do("notices", api.NoticesArgs{Group: group})
	return string(out), err
}

// Close closes the profile. Calls after it fail.
func (p *Profile) Close() (err error) {
	defer guard(&err)
	return p.node.Close()
}

func (p *Profile) do(command string, args any) ([]byte, error) {
	in, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	out, err := p.node.Do(context.Background(), command, in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// guard turns a panic into an error: a fault of ours must not take the app down.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = errors.New("palabre: internal fault")
	}
}
