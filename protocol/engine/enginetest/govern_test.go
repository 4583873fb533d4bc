package enginetest

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// organised is a group of three who all organise.
func organised(t *testing.T) (w *World, ana, ben, cam *Node) {
	t.Helper()
	w, ana, ben, cam = gathered(t)
	_, err := ana.Organise(ben)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	p, err := ana.Organise(cam)
	must(t, err)
	if p.Have != 1 || p.Need != 2 || p.Of != 2 || p.Effective || p.PaperMay {
		t.Fatalf("a first voice of two gives %+v", p)
	}
	must(t, w.Run(engine.Seconds(10)))
	p, err = ben.Vote(p.ID.String()[:6])
	must(t, err)
	if p.Have != 2 || p.Need != 2 || p.Of != 2 || !p.Effective {
		t.Fatalf("a second voice of two gives %+v", p)
	}
	must(t, w.Run(engine.Seconds(90)))
	if n := len(cam.Engine.Authority().Organisers); n != 3 {
		t.Fatalf("%d organise", n)
	}
	return w, ana, ben, cam
}

// Vote votes for the proposal with an id that starts so.
func (n *Node) Vote(id string) (engine.Proposed, error) {
	return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) { return e.Vote(now, id) })
}

// SetPolicy proposes who may post.
func (n *Node) SetPolicy(posting group.Posting) (engine.Proposed, error) {
	return n.Govern(func(e *engine.Engine, now engine.Time) (engine.Proposed, error) {
		return e.SetPolicy(now, func(p group.Policy) group.Policy { p.Posting = posting; return p })
	})
}

// logOf is the authority of a node as its storage has it.
func logOf(t *testing.T, n *Node) *group.Log {
	t.Helper()
	b, err := n.Store.Get(tableOfMeta, []byte("genesis"))
	must(t, err)
	g, err := group.ParseGenesis(b)
	must(t, err)
	l := group.NewLog(g)
	for range 2 {
		must(t, n.Store.Scan(tableOfOps, nil, func(_, v []byte) error {
			f, err := protocol.ParseFrame(v)
			if err == nil {
				_, err = l.Add(f)
			}
			return err
		}))
	}
	return l
}

// memberKey reads a member's key from its storage.
func memberKey(t *testing.T, n *Node) identity.MemberKey {
	t.Helper()
	b, err := n.Store.Get(tableOfMeta, []byte("self"))
	must(t, err)
	var r struct {
		_                      struct{} `cbor:",toarray"`
		Member, Device, Rescue [32]byte
		Name                   string
	}
	must(t, wire.Unmarshal(b, 1024, &r))
	return identity.MemberKeyFromSeed(r.Member)
}

func toldOf(n *Node, kind engine.EventKind) (ids []string) {
	for _, ev := range n.Events {
		if ev.Kind == kind {
			ids = append(ids, ev.ID)
		}
	}
	return ids
}

// TestChangesAreToldOnce wants one event at every member for each step of a
// decision, and the list of changes to say who did what to whom.
func TestChangesAreToldOnce(t *testing.T) {
	w, ana, ben, cam := organised(t)
	for _, n := range w.nodes {
		n.Events = nil
	}
	must(t, ana.Suspend(cam))
	must(t, w.Run(engine.Seconds(70)))
	p, err := ben.Expel(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	_, err = ana.Vote(p.ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(200)))
	must(t, ben.Start()) // a restart tells nothing again
	for _, n := range []*Node{ana, ben} {
		list := n.Engine.Changes(2)
		if len(list) != 2 || list[0].ID != p.ID || list[0].Decision != group.DecideExpel || list[0].Target != cam.member ||
			list[0].By != ben.member || !list[0].Effective || list[0].At == 0 {
			t.Fatalf("%s lists %+v", n.Name, list)
		}
		s := list[1]
		if s.Kind != group.KindSuspend || s.By != ana.member || s.Target != cam.member || !s.Effective || s.Decision != 0 {
			t.Errorf("%s lists %+v", n.Name, s)
		}
		// The suspension; the proposal with one voice, then decided.
		if got, want := toldOf(n, engine.EventAuthority), []string{s.ID.String(), p.ID.String(), p.ID.String()}; !slices.Equal(got, want) {
			t.Errorf("%s is told %v, want %v", n.Name, got, want)
		}
		// Suspended; gone. Nothing about anybody else.
		if got := toldOf(n, engine.EventMembers); !slices.Equal(got, []string{cam.member.String(), cam.member.String()}) {
			t.Errorf("%s is told of members %v", n.Name, got)
		}
	}
	if n := len(ana.Engine.Changes(0)); n != 6 { // two added, two granted, one suspended, one expelled
		t.Errorf("%d changes", n)
	}
}

// TestNothingBetween kills the phone at the commit of a proposal: it is there
// with its vote, or it is not.
func TestNothingBetween(t *testing.T) {
	w, ana, ben, cam := organised(t)
	before := ana.Engine.Authority()
	for _, crash := range []string{"before", "after"} {
		if crash == "before" {
			ana.crashIn = 1
		} else {
			ana.crashSent = 1
		}
		ana.Expel(cam)
		if !ana.off {
			t.Fatal("the phone lives")
		}
		must(t, ana.Start())
		open := ana.Engine.Authority().Open
		if crash == "before" && len(open) != len(before.Open) {
			t.Errorf("something was stored: %+v", open)
		}
		if crash == "after" && (len(open) != 1 || !open[0].Voted || open[0].Have != 1) {
			t.Errorf("not all was stored: %+v", open)
		}
	}
	must(t, w.Run(engine.Seconds(60)))
	if open := ben.Engine.Authority().Open; len(open) != 1 || open[0].Have != 1 || open[0].Voted {
		t.Errorf("the others have %+v", open)
	}
}

// TestGoverningBadInput wants one clear error for each mistake, and nothing changed.
func TestGoverningBadInput(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia := w.Add("Dia")
	l, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, dia.Join(l))
	must(t, w.Run(engine.Seconds(90)))
	p, err := ana.SetPolicy(group.PostAuthors)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	gone, err := ben.SetPolicy(group.PostOrganisers)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	_, err = cam.Vote(gone.ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(90)))
	paper, err := identity.NewRecoveryKey(ana.random)
	must(t, err)
	id := func(n *Node) string { return n.member.String() }
	now := ana.Now()
	dev := func(n *Node) string {
		list, err := n.Engine.Devices("")
		must(t, err)
		return list[0].ID.String()
	}
	third := func(_ engine.Proposed, err error) error { return err }
	keep := func(p group.Policy) group.Policy { return p }
	tests := map[string]struct {
		n    *Node
		do   func(e *engine.Engine) error
		want error
	}{
		"suspend nobody":          {ana, func(e *engine.Engine) error { return e.Suspend(now, "ffffffffff") }, engine.ErrUnknown},
		"suspend short":           {ana, func(e *engine.Engine) error { return e.Suspend(now, id(ben)[:5]) }, engine.ErrPrefix},
		"suspend oneself":         {ana, func(e *engine.Engine) error { return e.Suspend(now, id(ana)) }, engine.ErrSelf},
		"suspend a reader":        {ana, func(e *engine.Engine) error { return e.Suspend(now, id(dia)) }, engine.ErrNoOrganiser},
		"suspend by a reader":     {dia, func(e *engine.Engine) error { return e.Suspend(now, id(ben)) }, engine.ErrNotOrganiser},
		"expel by a reader":       {dia, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), nil)) }, engine.ErrNotOrganiser},
		"expel nobody":            {ana, func(e *engine.Engine) error { return third(e.Expel(now, "ffffffffff", nil)) }, engine.ErrUnknown},
		"expel undoing unknown":   {ana, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), []string{"ffffffffff"})) }, engine.ErrUnknown},
		"expel undoing short":     {ana, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), []string{"fff"})) }, engine.ErrPrefix},
		"expel undoing another's": {ana, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), []string{p.ID.String()})) }, engine.ErrUnknown},
		"reinstate who is not":    {ana, func(e *engine.Engine) error { return third(e.Reinstate(now, id(ben))) }, engine.ErrNotSuspended},
		"reinstate a reader":      {ana, func(e *engine.Engine) error { return third(e.Reinstate(now, id(dia))) }, engine.ErrNoOrganiser},
		"grant an organiser":      {ana, func(e *engine.Engine) error { return third(e.GrantOrganiser(now, id(ben))) }, engine.ErrAlready},
		"devices of a reader":     {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(dia), []string{dev(dia)})) }, engine.ErrNoOrganiser},
		"no devices":              {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(ben), nil)) }, engine.ErrOutOfBounds},
		"five devices":            {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(ben), make([]string, 5))) }, engine.ErrOutOfBounds},
		"another's device":        {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(ben), []string{dev(cam)})) }, engine.ErrUnknown},
		"the same devices":        {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(ben), []string{dev(ben)})) }, engine.ErrAlready},
		"the same policy":         {ana, func(e *engine.Engine) error { return third(e.SetPolicy(now, keep)) }, engine.ErrAlready},
		"a policy out of bounds": {ana, func(e *engine.Engine) error {
			return third(e.SetPolicy(now, func(p group.Policy) group.Policy { p.PeriodDays = 8; return p }))
		}, group.ErrPolicy},
		"no paper ends":            {ana, func(e *engine.Engine) error { return third(e.SetRecovery(now, group.RecoveryPublic{})) }, engine.ErrAlready},
		"vote for nothing":         {ana, func(e *engine.Engine) error { return third(e.Vote(now, "ffffffffff")) }, engine.ErrUnknown},
		"vote short":               {ana, func(e *engine.Engine) error { return third(e.Vote(now, "fff")) }, engine.ErrPrefix},
		"vote for what lost":       {ana, func(e *engine.Engine) error { return third(e.Vote(now, p.ID.String())) }, engine.ErrDecided},
		"vote by a reader":         {dia, func(e *engine.Engine) error { return third(e.Vote(now, p.ID.String())) }, engine.ErrNotOrganiser},
		"paper for what lost":      {dia, func(e *engine.Engine) error { return third(e.RecoveryVote(now, p.ID.String(), paper)) }, engine.ErrDecided},
		"remove a voting device":   {ana, func(e *engine.Engine) error { return e.RemoveDevice(now, dev(ben)) }, engine.ErrOrganiser},
		"remove one's own voting":  {ana, func(e *engine.Engine) error { return e.RemoveDevice(now, dev(ana)) }, engine.ErrOrganiser},
		"remove another's":         {dia, func(e *engine.Engine) error { return e.RemoveDevice(now, dev(ben)) }, engine.ErrOrganiser},
		"remove no device":         {ana, func(e *engine.Engine) error { return e.RemoveDevice(now, "ffffffffff") }, engine.ErrUnknown},
		"remove an organiser":      {ana, func(e *engine.Engine) error { return e.Remove(now, id(ben)) }, engine.ErrOrganiser},
		"leave as organiser":       {ana, func(e *engine.Engine) error { return e.Leave(now) }, engine.ErrLeave},
		"confirm without an alarm": {ana, func(e *engine.Engine) error { return e.ConfirmAuthority(now) }, engine.ErrAlready},
		"devices of nobody":        {ana, func(e *engine.Engine) error { _, err := e.Devices("ffffffffff"); return err }, engine.ErrUnknown},
	}
	for name, x := range tests {
		err := x.do(x.n.Engine)
		if !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
		if r := x.n.Engine.Ready(); !r.Empty() {
			t.Errorf("%s: something changed: %d rows, %d events", name, len(r.Persist.Puts), len(r.Deliver))
			x.n.flush()
		}
	}
}

// TestJoiningTakesNothingMoreBack: a proposal to expel that also takes back what
// others did is not joined, but made anew.
func TestJoiningTakesNothingMoreBack(t *testing.T) {
	w, ana, ben, cam := organised(t)
	l := logOf(t, ana)
	theirs := ana.Engine.Changes(1)[0].ID
	body := group.Expel{Target: cam.member, Repudiate: []protocol.ItemID{protocol.ItemID(theirs)}}
	if o, _, _ := l.Op(theirs); o.Member == cam.member {
		t.Fatal("that is the target's")
	}
	k := device(t, ana)
	for _, p := range []group.Payload{group.Proposal{Prev: l.Resolve().LastDecision(), Decision: body}, nil} {
		if p == nil {
			p = l.NextVote(ana.member, l.Resolve().Open()[0].ID)
		}
		f, err := l.NewOp(k, ana.member, p, nil, 1)
		must(t, err)
		_, err = l.Add(f)
		must(t, err)
		asMember(t, ben).give(sealed(t, secrets(t, ana), ana, f))
	}
	if open := ben.Engine.Authority().Open; len(open) != 1 || open[0].Have != 1 {
		t.Fatalf("the first one is not open: %+v", open)
	}
	p, err := ben.Expel(cam)
	must(t, err)
	if p.Effective || p.Have != 1 {
		t.Errorf("ben joined what undoes ana's work: %+v", p)
	}
	must(t, w.Run(engine.Seconds(1)))
}

// TestEvidenceIsAnswered: of an organiser whose phone is in two hands another
// organiser's phone says so by a suspension with both operations in it, once,
// and not before the minute in which one of them does it for all.
func TestEvidenceIsAnswered(t *testing.T) {
	w, ana, ben, cam := organised(t)
	thief, err := w.Copy(cam, "Thief")
	must(t, err)
	w.Cut(thief, cam)
	w.Cut(cam, thief)
	for _, n := range []*Node{ana, ben} {
		w.Cut(thief, n)
		w.Cut(n, thief)
	}
	_, err = cam.SetPolicy(group.PostAuthors)
	must(t, err)
	_, err = thief.SetPolicy(group.PostOrganisers)
	must(t, err)
	must(t, w.Run(engine.Seconds(5)))
	if len(ana.suspended()) != 0 {
		t.Fatal("suspended without evidence")
	}
	w.Heal(thief, ana)
	must(t, w.Run(engine.Seconds(120)))
	for _, n := range []*Node{ana, ben} {
		if !slices.Contains(n.suspended(), cam) {
			t.Errorf("%s has nobody suspended", n.Name)
		}
	}
	l := logOf(t, ana)
	count := 0
	for _, id := range l.ByPast() {
		if _, p, _ := l.Op(id); p != nil && p.Kind() == group.KindSuspend {
			count++
			s := p.(group.Suspend)
			if len(s.Evidence) != 2 || bytes.Compare(s.Evidence[0], s.Evidence[1]) >= 0 || s.Target != cam.member {
				t.Errorf("a suspension without its reason: %+v", s)
			}
		}
	}
	if count < 1 || count > 2 {
		t.Errorf("%d suspensions", count)
	}
	// The phone itself sees that it was copied, and signs nothing more.
	if err := cam.Suspend(ana); !errors.Is(err, engine.ErrStopped) {
		t.Errorf("cam: %v", err)
	}
	if _, err := cam.Expel(ana); !errors.Is(err, engine.ErrCopied) {
		t.Errorf("a copied phone signs on: %v", err)
	}
	cam.Stop()
	must(t, cam.Start())
	if _, err := cam.Expel(ana); !errors.Is(err, engine.ErrCopied) {
		t.Errorf("after a restart a copied phone signs on: %v", err)
	}
	// Given back by both, it is not answered again.
	p, err := ana.Reinstate(cam)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	_, err = ben.Vote(p.ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(600)))
	if len(ana.suspended()) != 0 || len(ben.suspended()) != 0 {
		t.Error("what the organisers judged is answered again")
	}
}

// TestAlarm: a decision that held for more than a week is rewritten with old
// keys. Nothing is sent before a person has looked.
func TestAlarm(t *testing.T) {
	for _, days := range []int64{2, 8} {
		w, ana, ben, cam := organised(t)
		old, err := w.Copy(ben, "Old")
		must(t, err)
		for _, x := range []*Node{ana, ben} {
			for _, y := range []*Node{old, cam} {
				w.Cut(x, y)
				w.Cut(y, x)
			}
		}
		p, err := ana.SetPolicy(group.PostAuthors)
		must(t, err)
		must(t, w.Run(engine.Seconds(10)))
		_, err = ben.Vote(p.ID.String())
		must(t, err)
		must(t, w.Run(engine.Seconds(10)))
		ben.Stop()
		must(t, w.Run(engine.Seconds(days*protocol.DaySeconds)))
		q, err := cam.SetPolicy(group.PostOrganisers)
		must(t, err)
		must(t, w.Run(engine.Seconds(60)))
		_, err = old.Vote(q.ID.String())
		must(t, err)
		_, err = old.SetPolicy(group.PostAuthors) // a second vote on that branch
		must(t, err)
		must(t, w.Run(engine.Seconds(60)))
		w.Heal(ana, cam)
		w.Heal(cam, ana)
		ana.Events = nil
		must(t, w.Run(engine.Seconds(300)))
		alarm := ana.Engine.Status().AuthorityAlarm
		if alarm != (days == 8) || ana.Engine.Waiting() != alarm || len(toldOf(ana, engine.EventAlarm)) != int(days/8) {
			t.Fatalf("after %d days: alarm %t, waiting %t", days, alarm, ana.Engine.Waiting())
		}
		if !slices.Contains(toldOf(ana, engine.EventAuthority), p.ID.String()) {
			t.Error("nothing is said of the decision that is gone")
		}
		if !alarm {
			continue
		}
		must(t, ana.Post("attend", "Corps.", 0))
		ana.Stop()
		must(t, ana.Start())
		must(t, w.Run(engine.Seconds(300)))
		if s := ana.Engine.Status(); !s.AuthorityAlarm || s.Unsent != 1 {
			t.Errorf("a restart ends the alarm: %+v", s)
		}
		if v, ok := logOf(t, ana).Resolve().LatestVote(ana.member); !ok || v != p.ID {
			t.Errorf("it stands on what nobody looked at: %v", v)
		}
		_, err = ana.do(func(e *engine.Engine, now engine.Time) error { return e.ConfirmAuthority(now) })
		must(t, err)
		must(t, w.Run(engine.Seconds(300)))
		if s := ana.Engine.Status(); s.AuthorityAlarm || s.Unsent != 0 {
			t.Errorf("after it was confirmed: %+v", s)
		}
		if _, err := cam.See("attend"); err != nil {
			t.Error(err)
		}
		if v, ok := logOf(t, ana).Resolve().LatestVote(ana.member); !ok || v == p.ID {
			t.Error("it does not stand on what was confirmed")
		}
		ana.Stop()
		must(t, ana.Start())
		if ana.Engine.Status().AuthorityAlarm {
			t.Error("a restart brings the alarm back")
		}
	}
}

// TestManyHeads: where more operations stand side by side than one can name,
// what is signed joins them first.
func TestManyHeads(t *testing.T) {
	w, ana, ben, cam := organised(t)
	base := logOf(t, ana)
	roots := base.Frames()
	var side []protocol.Frame
	// Members' phones sign merges at one time: each with a log of its own.
	for _, n := range []*Node{ben, cam} {
		k, m := device(t, n), n.member
		for i := range 20 {
			l := group.NewLog(base.Genesis())
			for _, f := range roots {
				_, err := l.Add(f)
				must(t, err)
			}
			f, err := l.NewMerge(k, m, nil, int64(i+1))
			must(t, err)
			side = append(side, f)
		}
	}
	a := asMember(t, ana)
	for _, f := range side {
		a.give(sealed(t, secrets(t, ana), ana, f))
	}
	if n := len(logOf(t, ana).Heads()); n < 17 {
		t.Fatalf("%d heads", n)
	}
	_, err := ana.SetPolicy(group.PostAuthors)
	must(t, err)
	if n := len(logOf(t, ana).Heads()); n != 1 {
		t.Errorf("%d heads are left", n)
	}
	must(t, w.Run(engine.Seconds(1)))
}

// TestOwnDeviceIsRemoved: a member adds a device and removes it. Everybody is
// told of both, and the keys are renewed without it.
func TestOwnDeviceIsRemoved(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	for _, n := range w.nodes {
		n.Events = nil
	}
	second, err := identity.NewDeviceKey(ben.random)
	must(t, err)
	kem, err := epoch.NewKEMPrivate(ben.random)
	must(t, err)
	cert := identity.Certify([32]byte(ben.id), memberKey(t, ben), second)
	pack := group.NewKeyPackage(ben.id, second, group.KeyPackage{Cert: cert, KEM: kem.Public(),
		Lane: epoch.MailKeyFromSeed([32]byte{1}).Public(), Expires: ben.Now().Unix() + 1000})
	l := logOf(t, ben)
	f, err := l.NewOp(device(t, ben), ben.member, group.AddDevice{Cert: cert.Marshal(), KeyPackage: pack.ID(ben.id)}, nil, 7)
	must(t, err)
	// Ben's phone has it on its disk, as if it had signed it.
	opID := f.ID(ben.id)
	ben.Stop()
	ben.Store.rows[tableOfOps][string(opID[:])] = row{value: f.Marshal()}
	must(t, ben.Start())
	a := asMember(t, ana)
	a.give(sealed(t, secrets(t, ana), ben, pack))
	a.give(sealed(t, secrets(t, ana), ben, f))
	must(t, w.Run(engine.Seconds(30)))
	id := second.Public().ID()
	for _, n := range w.nodes {
		list, err := n.Engine.Devices(ben.member.String())
		must(t, err)
		i := slices.IndexFunc(list, func(d engine.DeviceView) bool { return d.ID == id })
		if len(list) != 2 || i < 0 || !list[i].Effective || list[i].Operating || list[i].Self || list[i].AddedAt != 7 {
			t.Fatalf("%s lists the devices %+v", n.Name, list)
		}
		if got := toldOf(n, engine.EventMembers); n != ben && !slices.Equal(got, []string{ben.member.String()}) {
			t.Errorf("%s is told of %v", n.Name, got)
		}
	}
	before := ana.epoch()
	if err := cam.removeDevice(id.String()); !errors.Is(err, engine.ErrNotOrganiser) {
		t.Errorf("another's device: %v", err)
	}
	for _, n := range w.nodes {
		n.Events = nil
	}
	must(t, ben.removeDevice(id.String()[:8]))
	must(t, w.Run(engine.Seconds(90)))
	for _, n := range w.nodes {
		list, err := n.Engine.Devices(ben.member.String())
		must(t, err)
		i := slices.IndexFunc(list, func(d engine.DeviceView) bool { return d.ID == id })
		if i < 0 || list[i].Effective {
			t.Errorf("%s has the device still: %+v", n.Name, list)
		}
		if c := n.Engine.Changes(1)[0]; c.Kind != group.KindRemoveDevice || c.By != ben.member || c.Device != id || c.Target != ben.member || !c.Effective {
			t.Errorf("%s: the newest change is %+v", n.Name, c)
		}
		if got := toldOf(n, engine.EventMembers); !slices.Equal(got, []string{ben.member.String()}) {
			t.Errorf("%s is told of %v", n.Name, got)
		}
		if n.epoch() <= before || n.waits() {
			t.Errorf("%s is at epoch %d: the keys are not renewed", n.Name, n.epoch())
		}
	}
	must(t, w.Check())
}

func (n *Node) removeDevice(id string) error {
	_, err := n.do(func(e *engine.Engine, now engine.Time) error { return e.RemoveDevice(now, id) })
	return err
}
