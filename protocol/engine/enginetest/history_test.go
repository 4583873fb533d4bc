package enginetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
)

// Pin puts a notice that the node shows on top, or takes it down.
func (n *Node) Pin(name string, on bool) error {
	v, err := n.See(name)
	if err != nil {
		return err
	}
	saved, err := n.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.Pin(now, v.Notice.String(), on)
		return err
	})
	return n.saved(saved, err, func() {})
}

func (n *Node) titles() (list []string) {
	for _, v := range n.Engine.Notices(n.Now(), nil, true) {
		list = append(list, v.Title)
	}
	slices.Sort(list)
	return list
}

// What a newcomer is given of earlier times: with the policy pinned what an
// organiser pinned and holds, as it stands; with none nothing. No old key goes
// with it.
func TestHistoryForNewcomers(t *testing.T) {
	for _, c := range []struct {
		history group.History
		high    bool
		want    []string
	}{
		{group.HistoryNone, false, nil},
		{group.HistoryPinned, false, []string{"long", "tenu"}},
		{group.HistoryPinned, true, []string{"long", "tenu"}},
	} {
		w := NewWorld(37)
		x := &theft{World: w, t: t, spy: w.spied(), witness: w.witnessed()}
		ana, ben, cam := w.Add("Ana"), w.Add("Ben"), w.Add("Cam")
		policy := group.DefaultPolicy(10)
		policy.History, policy.HighRisk = c.history, c.high
		must(t, ana.Found("Jardin", policy))
		link, err := ana.Invite(engine.InviteParams{Uses: 3, Seconds: 9 * daySeconds})
		must(t, err)
		must(t, ben.Join(link))
		must(t, w.Run(engine.Seconds(30)))
		must(t, ana.Approve("Ben"))
		must(t, w.Run(engine.Seconds(120)))
		must(t, ben.Post("tenu", "Corps.", 3600))
		must(t, ana.Post("long", "Corps.", 0))
		must(t, ana.Post("libre", "Corps.", 0))
		must(t, ana.Post("retire", "Corps.", 0))
		must(t, ana.Post("annule", "Corps.", 0))
		must(t, ana.Post("bref", "Corps.", 7200))
		must(t, w.Run(engine.Seconds(30)))
		for _, name := range []string{"tenu", "long", "retire", "annule", "bref"} {
			must(t, ana.Pin(name, true))
		}
		must(t, ana.Pin("retire", false))
		if err := ana.Pin("tenu", true); !errors.Is(err, engine.ErrAlready) {
			t.Error("pinned twice: ", err)
		}
		must(t, w.Run(engine.Seconds(30)))
		if err := ben.Pin("libre", true); !errors.Is(err, engine.ErrNotOrganiser) {
			t.Error("a member pins: ", err)
		}
		must(t, ben.Edit("tenu", "Autre.", 5*daySeconds))
		must(t, ana.Cancel("annule", "Pluie."))
		must(t, w.Run(26*hour)) // the first version of one, and the other, are over
		if v, err := ben.See("tenu"); err != nil || !v.Pinned {
			t.Fatalf("%+v %v", v, err)
		}
		ben.Stop()
		must(t, ben.Start()) // and it is so after a start

		must(t, cam.Join(link))
		must(t, w.Run(engine.Seconds(10)))
		must(t, ana.Approve("Cam"))
		w.posts = nil // a newcomer need not have them
		must(t, w.Run(engine.Seconds(60)))
		if got := cam.titles(); !slices.Equal(got, c.want) {
			t.Errorf("history %d: a newcomer sees %v", c.history, got)
		}
		if c.want != nil {
			v, err := cam.See("tenu")
			must(t, err)
			if v.Body != "Autre." || !v.Pinned || v.Missing || v.Status != feed.Active {
				t.Errorf("the newcomer sees %+v", v)
			}
		}
		cam.Stop()
		must(t, cam.Start())
		if got := cam.titles(); !slices.Equal(got, c.want) {
			t.Errorf("history %d: after a start %v", c.history, got)
		}
		must(t, w.Run(engine.Seconds(300)))
		x.spy.know(ana, ben, cam)
		l := steal(t, cam.id, cam.Store.Clone(), x.spy, cam.Now())
		for _, name := range []string{"tenu", "long", "libre", "retire", "annule", "bref"} {
			if l.stored[name] != slices.Contains(c.want, name) || l.opened[name] {
				t.Errorf("history %d, from the newcomer's phone: %s stored %t, opened %t", c.history, name, l.stored[name], l.opened[name])
			}
		}
	}
}

// Whoever writes the Welcome cannot put words into anybody's mouth: an original
// whose signature does not hold, or whose author had no right, is not taken.
func TestHistoryIsChecked(t *testing.T) {
	for _, c := range []struct {
		what  string
		shown bool
		forge func(o protocol.Original, by *Node, t *testing.T) protocol.Original
	}{
		{"as it is", true, func(o protocol.Original, _ *Node, _ *testing.T) protocol.Original { return o }},
		{"a wrong signature", false, func(o protocol.Original, _ *Node, _ *testing.T) protocol.Original { o.Sig[5] ^= 1; return o }},
		{"another epoch", false, func(o protocol.Original, _ *Node, _ *testing.T) protocol.Original { o.Epoch[0] ^= 1; return o }},
		{"a reader's", false, func(o protocol.Original, by *Node, t *testing.T) protocol.Original {
			content, err := o.Parse()
			must(t, err)
			content.GovHeads = content.GovHeads[:0:0]
			for _, k := range by.Store.keys(tableOfOps) { // at the operation that let him in
				content.GovHeads = []protocol.OpID{protocol.OpID([]byte(k))}
			}
			return protocol.SignOriginal(by.id, o.Epoch, device(t, by), 7, o.Guard, content)
		}},
	} {
		w := NewWorld(38)
		ana, ben, cam := w.Add("Ana"), w.Add("Ben"), w.Add("Cam")
		policy := group.DefaultPolicy(10)
		policy.History, policy.Posting = group.HistoryPinned, group.PostOrganisers
		must(t, ana.Found("Jardin", policy))
		link, err := ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
		must(t, err)
		must(t, ben.Join(link))
		must(t, w.Run(engine.Seconds(60)))
		must(t, ana.Post("tenu", "Corps.", 0))
		must(t, ana.Pin("tenu", true))
		must(t, w.Run(engine.Seconds(10)))
		changed := 0
		for k, r := range ana.Store.rows[tableOfItems] {
			o, content, err := protocol.ParseOriginal(r.value)
			must(t, err)
			if noticeTitle(content) == "tenu" {
				ana.Store.rows[tableOfItems][k] = row{value: c.forge(o, ben, t).Marshal(), shred: r.shred}
				changed++
			}
		}
		w.posts = nil
		must(t, cam.Join(link))
		must(t, w.Run(engine.Seconds(60)))
		if got := cam.titles(); changed != 1 || cam.joined == 0 || (len(got) == 1) != c.shown {
			t.Errorf("%s: a newcomer sees %v", c.what, got)
		}
	}
}

// A member who forges a pin under his own name changes nothing.
func TestOnlyOrganisersPin(t *testing.T) {
	_, ana, ben, _ := gathered(t)
	must(t, ben.Post("sien", "Corps.", 0))
	must(t, ana.w.Run(engine.Seconds(10)))
	v, err := ana.See("sien")
	must(t, err)
	payload, err := feed.Pin{Notice: v.Notice, Version: 1, Pinned: true}.Encode()
	must(t, err)
	k, d := secrets(t, ben), device(t, ben)
	for id, r := range ben.Store.rows[tableOfChains] {
		if protocol.EpochID([]byte(id[:32])) == k.Epoch() {
			must(t, k.AddChain(r.value))
		}
	}
	heads := []protocol.OpID{}
	for _, r := range ana.Store.rows[tableOfItems] { // those of the newest notice
		if _, c, err := protocol.ParseOriginal(r.value); err == nil && noticeTitle(c) == "sien" {
			heads = c.GovHeads
		}
	}
	for _, by := range []*Node{ben, ana} {
		if by == ana {
			k, d = secrets(t, ana), device(t, ana)
			for id, r := range ana.Store.rows[tableOfChains] {
				if protocol.EpochID([]byte(id[:32])) == k.Epoch() {
					must(t, k.AddChain(r.value))
				}
			}
		}
		f, _, err := k.Seal(ana.id, d, protocol.Content{Type: protocol.TypePin, GovHeads: heads, DevSeq: 90,
			CreatedAt: ana.Now().Unix(), ExpiresAt: ana.Now().Unix() + 3600, Payload: payload}, ben.random)
		must(t, err)
		at := map[*Node]*Node{ben: ana, ana: ben}[by]
		before := at.Store.names()
		asMember(t, at).give(sealed(t, k, at, f))
		if kept := !slices.Equal(before, at.Store.names()); kept != (by == ana) {
			t.Errorf("a pin by %s is kept: %t", by.Name, kept)
		}
		if v, err = at.See("sien"); err != nil || v.Pinned != (by == ana) {
			t.Errorf("pinned by %s: %t, %v", by.Name, v.Pinned, err)
		}
	}
}
