package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/ferry"
)

// This file writes and reads bundles: files that somebody carries where no network
// does (spec 75 section 7). Between two handfuls the owner does other work.

// handful is how many envelopes are read from the store, or taken in, at a time.
const handful = 64

// maxPasses bounds how often one bundle is read. Each pass but the last brought
// something new.
const maxPasses = 100

// exportBundle writes what somebody of the group who was away lacks to a new file.
func exportBundle(n *Node, ctx context.Context, raw json.RawMessage) (any, error) {
	var a api.BundleExportArgs
	if err := api.DecodeArgs(raw, &a); err != nil {
		return nil, err
	}
	if a.SinceSeconds <= 0 || a.SinceSeconds > protocol.MaxNoticeSeconds || !filepath.IsAbs(a.File) {
		return nil, code(api.CodeBadRequest)
	}
	var g *groupState
	var b *engine.Bundle
	err := n.read(ctx, func() (err error) {
		if g, err = n.group(a.Group); err == nil {
			b, err = g.engine.Bundle(n.now(), n.now().Unix()-a.SinceSeconds)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(a.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, code(api.CodeFileExists)
	} else if err != nil {
		return nil, code(api.CodeFileUnreadable)
	}
	out := api.BundleExported{File: a.File}
	if err = n.writeBundle(ctx, file, g, b, &out); err == nil {
		err = file.Sync()
	}
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(a.File) // half a file would be taken for a whole one
		return nil, err
	}
	return out, nil
}

func (n *Node) writeBundle(ctx context.Context, file *os.File, g *groupState, b *engine.Bundle, out *api.BundleExported) error {
	w := ferry.NewBundleWriter(file)
	for i := 0; i < b.Len(); i += handful {
		var list []ferry.Parcel
		err := n.read(ctx, func() (err error) {
			if n.groups[g.id] != g {
				return errStopped // the person left meanwhile
			}
			list, err = g.engine.Parcels(b, i, handful)
			return err
		})
		if err != nil {
			return err
		}
		for _, x := range list {
			if err := w.Add(x); err != nil {
				return err
			}
			out.Items++
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		out.Bytes = info.Size()
	}
	return err
}

// importBundle takes what a file brings for the groups of this profile.
func importBundle(n *Node, ctx context.Context, raw json.RawMessage) (any, error) {
	var a api.BundleImportArgs
	if err := api.DecodeArgs(raw, &a); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(a.File) {
		return nil, code(api.CodeBadRequest)
	}
	file, err := os.Open(a.File)
	if err != nil {
		return nil, code(api.CodeFileUnreadable)
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, code(api.CodeFileUnreadable)
	}
	var groups []protocol.GroupID
	err = n.read(ctx, func() error {
		for _, g := range n.sortedGroups() {
			if g.engine.Joined() {
				groups = append(groups, g.id)
			}
		}
		if len(groups) == 0 {
			return code(api.CodeNoGroup)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := api.BundleImported{Groups: []string{}}
	brought := map[protocol.GroupID]bool{}
	for range maxPasses {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return nil, code(api.CodeFileUnreadable)
		}
		fresh := out.New
		if err := n.readBundle(ctx, file, groups, &out, brought); err != nil {
			return nil, err
		}
		if out.New == fresh {
			break
		}
	}
	out.Known -= out.New // the last pass found them held
	for _, id := range groups {
		if brought[id] {
			out.Groups = append(out.Groups, id.String())
		}
	}
	return out, nil
}

// readBundle reads a file once. A file that is broken brings what is before that.
func (n *Node) readBundle(ctx context.Context, file *os.File, groups []protocol.GroupID, out *api.BundleImported, brought map[protocol.GroupID]bool) error {
	out.Known, out.Other, out.Broken = 0, 0, ""
	read := 0
	r, err := ferry.NewBundleReader(file)
	for err == nil {
		var envelopes [][]byte
		for len(envelopes) < handful {
			var x ferry.Parcel
			if x, err = r.Next(); err != nil {
				break
			}
			envelopes = append(envelopes, x.Envelope)
		}
		if read += len(envelopes); len(envelopes) == 0 {
			break
		}
		all := engine.Imported{}
		for _, id := range groups {
			var got engine.Imported
			e := n.change(ctx, func() (*groupState, error) {
				g := n.groups[id]
				if g == nil {
					return nil, nil // the person left meanwhile
				}
				var err error
				got, err = g.engine.Import(n.now(), envelopes)
				return g, err
			})
			if e != nil {
				return e
			}
			all.New, all.Known = all.New+got.New, all.Known+got.Known
			brought[id] = brought[id] || got.New > 0
		}
		out.New += all.New
		out.Known += all.Known
		out.Other += len(envelopes) - all.New - all.Known
	}
	switch {
	case errors.Is(err, io.EOF):
	case errors.Is(err, ferry.ErrCutOff) && read > 0:
		out.Broken = api.BrokenCutOff
	case errors.Is(err, ferry.ErrNotBundle) && read > 0:
		out.Broken = api.BrokenDamaged
	case errors.Is(err, ferry.ErrCutOff), errors.Is(err, ferry.ErrNotBundle):
		return code(api.CodeNotABundle)
	default:
		return code(api.CodeFileUnreadable)
	}
	return nil
}
