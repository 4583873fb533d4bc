package engine

import (
	"errors"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/feed"
)

// ErrMayNotPost says that the group's policy does not let this member post.
var ErrMayNotPost = errors.New("only those whom the group lets post can do this")

// Posted is what became of something that was written.
type Posted struct {
	// ID of the notice, also where an edit or a cancellation was written.
	ID protocol.ContentID
	// Waiting says that it is saved and leaves when the group's keys are renewed;
	// it has no id until then.
	Waiting bool
	// Expires is when a notice that was posted goes, in unix seconds.
	Expires int64
}

// Post writes a notice. Expires is unix seconds; 0, or what is further than the
// group keeps a text, is the furthest.
func (e *Engine) Post(now Time, n feed.Notice, expires int64) (Posted, error) {
	e.now = now
	if err := e.asPoster(); err != nil {
		return Posted{}, err
	}
	d, err := e.newNotice(n, expires)
	if err != nil {
		return Posted{}, err
	}
	p, err := e.writeAndSettle(d)
	p.Expires = d.ExpiresAt
	return p, err
}

// newNotice drafts a notice that says it goes when it will.
func (e *Engine) newNotice(n feed.Notice, expires int64) (feed.Draft, error) {
	return feed.NewNotice(n, e.now.Unix(), e.soonest(e.now.Unix(), expires), e.cfg.Zone)
}

// soonest is when a text made at a time goes that is to go at another one, 0 for as
// late as can be: in a group at high risk sooner than its author may wish.
func (e *Engine) soonest(made, expires int64) int64 {
	if last := made + e.textSeconds(); e.policy().HighRisk && (expires == 0 || expires > last) {
		return last
	}
	return expires
}

// shown is a view that says when the notice goes from here.
func (e *Engine) shown(v feed.View) feed.View {
	v.Expires = e.soonest(v.Posted, v.Expires)
	for i := range v.Conflicts {
		v.Conflicts[i].Expires = e.soonest(v.Posted, v.Conflicts[i].Expires)
	}
	return v
}

// Edit changes a notice, named by its id or a prefix of at least 6 characters.
// Expires 0 keeps the expiry.
func (e *Engine) Edit(now Time, id string, expires int64, change func(feed.Notice) feed.Notice) (Posted, error) {
	v, err := e.asEditor(now, id)
	if err != nil {
		return Posted{}, err
	}
	if expires == 0 && e.policy().HighRisk {
		expires = v.Expires
		for _, c := range v.Conflicts {
			expires = max(expires, c.Expires)
		}
	}
	d, err := e.feed.NewEdit(v.Notice, now.Unix(), e.soonest(v.Posted, expires), change, e.cfg.Zone)
	if err != nil {
		return Posted{}, err
	}
	return e.amend(v.Notice, d)
}

// Cancel strikes a notice out.
func (e *Engine) Cancel(now Time, id, reason, lang string) (Posted, error) {
	v, err := e.asEditor(now, id)
	if err != nil {
		return Posted{}, err
	}
	d, err := e.feed.NewCancel(v.Notice, now.Unix(), reason, lang)
	if err != nil {
		return Posted{}, err
	}
	return e.amend(v.Notice, d)
}

func (e *Engine) amend(notice protocol.ContentID, d feed.Draft) (Posted, error) {
	p, err := e.writeAndSettle(d)
	if err == nil {
		p.ID = notice
	}
	return p, err
}

func (e *Engine) writeAndSettle(d feed.Draft) (Posted, error) {
	id, sent, err := e.write(d)
	if err != nil {
		return Posted{}, err
	}
	return Posted{ID: id, Waiting: !sent}, e.settle()
}

func (e *Engine) asPoster() error {
	if e.join != nil {
		return ErrNotJoined
	}
	r := e.log.Resolve()
	if !r.IsMember(e.self.memberID) {
		return ErrNotMember
	}
	if !r.MayPost(e.self.memberID) {
		return ErrMayNotPost
	}
	return nil
}

// asEditor finds a notice and says whether this member may change it: its
// author, or any organiser.
func (e *Engine) asEditor(now Time, id string) (feed.View, error) {
	e.now = now
	if e.join != nil {
		return feed.View{}, ErrNotJoined
	}
	if !e.log.Resolve().IsMember(e.self.memberID) {
		return feed.View{}, ErrNotMember
	}
	v, err := e.Notice(now, id, nil)
	if err != nil {
		return feed.View{}, err
	}
	if v.Author != e.self.memberID && e.asOrganiser() != nil {
		return feed.View{}, ErrMayNotPost
	}
	return v, nil
}

// Notices lists notices, newest first, in the first of the preferred languages
// in which each exists. Without all, only those that hold: active ones,
// and those of which several versions stand side by side.
func (e *Engine) Notices(now Time, preferred []string, all bool) []feed.View {
	if e.join != nil {
		return nil
	}
	var list []feed.View
	for _, v := range e.feed.List(now.Unix(), preferred, all) {
		if all || v.Status == feed.Active || v.Status == feed.Conflict {
			list = append(list, e.shown(v))
		}
	}
	return list
}

// Notice returns one notice by its id or a prefix of at least 6 characters.
func (e *Engine) Notice(now Time, id string, preferred []string) (feed.View, error) {
	if e.join != nil {
		return feed.View{}, ErrNotJoined
	}
	v, err := e.feed.Get(id, now.Unix(), preferred)
	switch {
	case errors.Is(err, feed.ErrNotFound):
		return feed.View{}, ErrUnknown
	case errors.Is(err, feed.ErrAmbiguous):
		return feed.View{}, ErrAmbiguous
	case err != nil:
		return feed.View{}, err
	}
	return e.shown(v), nil
}
