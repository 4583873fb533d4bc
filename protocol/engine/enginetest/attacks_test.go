package enginetest

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// The tests of this file are rows of spec 95. What an attacker needs of a
// member's phone it reads from the storage, as spec 65 section 7 describes it.
const (
	messageWant    = 2
	tableOfMeta    = 1
	tableOfOps     = 2
	tableOfSecrets = 5
)

// attackers counts the links of attackers, apart from those of the world.
var attackers engine.Peer = 1 << 40

// attacker is a proven link to a node with nothing but a test behind it.
type attacker struct {
	t      *testing.T
	n      *Node
	class  engine.Class
	tag    [32]byte
	id     engine.Peer
	got    [][]byte // what the node said on the link
	closed bool     // the node wants the link closed
}

func attack(t *testing.T, n *Node, class engine.Class, tag [32]byte) *attacker {
	t.Helper()
	attackers++
	a := &attacker{t: t, n: n, class: class, tag: tag, id: attackers}
	a.step(engine.PeerUp{Peer: a.id, Class: class, Tag: tag})
	a.got = nil // what it says to everybody who comes
	return a
}

// asMember is a link under the node's newest key.
func asMember(t *testing.T, n *Node) *attacker {
	return attack(t, n, engine.ClassMember, n.gate.Accept[0].Tag)
}

func (a *attacker) step(in engine.Input) {
	a.t.Helper()
	if err := a.n.Engine.Step(a.n.Now(), in); err != nil {
		a.t.Fatal(err)
	}
	for r := a.n.Engine.Ready(); !r.Empty(); r = a.n.Engine.Ready() {
		a.n.schedule(r.Wake)
		a.n.commit(r.Persist)
		for _, m := range r.Send {
			if m.Peer == a.id {
				a.got = append(a.got, bytes.Clone(m.Data))
			}
		}
		a.closed = a.closed || slices.Contains(r.Close, a.id)
		a.n.send(r)
		a.n.deliver(r)
		a.n.Engine.Advance()
	}
}

// say sends one message. Whoever was thrown out comes back first.
func (a *attacker) say(kind byte, body []byte) {
	a.t.Helper()
	if a.closed {
		a.step(engine.PeerDown{Peer: a.id})
		attackers++
		a.id, a.closed = attackers, false
		got := a.got
		a.step(engine.PeerUp{Peer: a.id, Class: a.class, Tag: a.tag})
		a.got = got
	}
	a.step(engine.Received{Peer: a.id, Data: append([]byte{kind}, body...)})
}

// give announces an envelope and gives it, whether it was asked for or not.
func (a *attacker) give(envelope []byte) {
	a.t.Helper()
	a.say(1, wire.Marshal([]protocol.EnvelopeID{protocol.IDOf(envelope)}))
	a.say(messageGive, envelope)
}

// answers are what the node said but for requests to be given envelopes.
func (a *attacker) answers() (list [][]byte) {
	for _, m := range a.got {
		if m[0] != messageWant {
			list = append(list, m)
		}
	}
	return list
}

// gathered is a group of three that has come to rest.
func gathered(t *testing.T) (w *World, ana, ben, cam *Node) {
	t.Helper()
	w = NewWorld(95)
	ana, ben, cam = w.Add("Ana"), w.Add("Ben"), w.Add("Cam")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	l, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, ben.Join(l))
	must(t, cam.Join(l))
	must(t, w.Run(engine.Seconds(30)))
	if s := ana.Engine.Status(); s.Members != 3 || s.Unsent != 0 {
		t.Fatalf("no group of three came about: %+v", s)
	}
	return w, ana, ben, cam
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// secrets are the newest epoch's keys as a node has stored them.
func secrets(t *testing.T, n *Node) *epoch.Keys {
	t.Helper()
	var newest *epoch.Keys
	for _, k := range n.Store.keys(tableOfSecrets) {
		keys, err := epoch.ParseKeys(bytes.Clone(n.Store.rows[tableOfSecrets][k].value))
		must(t, err)
		if newest == nil || keys.Epoch() == protocol.EpochID(n.gate.Accept[0].Tag) {
			newest = keys
		}
	}
	return newest
}

// device is a node's device key as it has stored it.
func device(t *testing.T, n *Node) identity.DeviceKey {
	t.Helper()
	var self struct {
		_                      struct{} `cbor:",toarray"`
		Member, Device, Rescue [32]byte
		Name                   string
	}
	must(t, wire.Unmarshal(n.Store.rows[tableOfMeta]["self"].value, 1024, &self))
	return identity.DeviceKeyFromSeed(self.Device)
}

// sealed puts a frame where all members look, as any member can.
func sealed(t *testing.T, k *epoch.Keys, n *Node, f protocol.Frame) []byte {
	t.Helper()
	e, err := epoch.CommonMailbox(k.Net(), n.Now().Day()).Seal(f.Marshal())
	must(t, err)
	return e
}

// envelopesOf are those that nodes hold.
func envelopesOf(nodes ...*Node) map[protocol.EnvelopeID][]byte {
	all := map[protocol.EnvelopeID][]byte{}
	for _, n := range nodes {
		for _, r := range n.Store.rows[tableOfEnvelopes] {
			all[protocol.IDOf(r.value)] = bytes.Clone(r.value)
		}
	}
	return all
}

// holds says whether a node has stored an envelope.
func (n *Node) holds(id protocol.EnvelopeID) bool {
	for k := range n.Store.rows[tableOfEnvelopes] {
		if strings.Contains(k, string(id[:])) {
			return true
		}
	}
	return false
}

// names lists all rows of a storage.
func (m *Memory) names() []string {
	var list []string
	for table := range m.rows {
		for _, k := range m.keys(table) {
			list = append(list, fmt.Sprintf("%d %x", table, k))
		}
	}
	slices.Sort(list)
	return list
}

// Row 2: a thousand bad messages of every kind from a proven member, who has
// the keys and signs truly where it suits. Nothing is stored, nothing is
// answered, and what others write comes.
func TestGarbageFromAMember(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	rng := rand.New(rand.NewPCG(2, 95))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	k, d := secrets(t, ben), device(t, ben)
	box := epoch.CommonMailbox(k.Net(), ana.Now().Day())
	kinds := []protocol.FrameKind{protocol.KindOp, protocol.KindEpoch, protocol.KindMessage, protocol.KindKeyPackage,
		protocol.KindKeyUpdate, protocol.KindPresence, protocol.KindBatch, protocol.KindAck}
	before, told := ana.Store.names(), len(ana.Events)
	a := asMember(t, ana)
	closed := 0
	for i := range 1_000 {
		switch i % 5 {
		case 0: // a message of the link
			a.say(byte(i/5%10), noise(rng.IntN(3_000)))
		case 1: // an envelope of the right size
			a.give(noise([]int{protocol.BucketSmall, protocol.BucketMedium, protocol.BucketLarge}[rng.IntN(3)]))
		case 2: // an envelope of the right form, in a mailbox that exists or not
			e := protocol.Envelope{Version: protocol.Version, Mailbox: protocol.MailboxID(noise(32)), Ciphertext: noise(protocol.RoomSmall + 16)}
			if i%2 == 0 {
				e.Mailbox = box.Address()
			}
			a.give(e.Marshal())
		case 3: // a true signature over nonsense
			a.give(sealed(t, k, ana, protocol.SignFrame(ana.id, kinds[rng.IntN(len(kinds))], d, noise(1+rng.IntN(1_000)))))
		case 4: // a false signature
			f := protocol.SignFrame(ana.id, kinds[rng.IntN(len(kinds))], d, noise(1+rng.IntN(1_000)))
			f.Sig[rng.IntN(64)] ^= 1
			a.give(sealed(t, k, ana, f))
		}
		if a.closed {
			closed++
		}
	}
	if after := ana.Store.names(); !slices.Equal(before, after) {
		t.Errorf("%d rows became %d", len(before), len(after))
	}
	if len(ana.Events) != told {
		t.Errorf("somebody was told of %v", ana.Events[told:])
	}
	if n := len(a.answers()); n > 0 {
		t.Errorf("%d messages were answered, the first with %x", n, a.answers()[0])
	}
	if closed < 500 {
		t.Errorf("the link was closed for %d of 1,000", closed)
	}
	must(t, ben.Post("bon", "Corps.", 0))
	must(t, w.Run(engine.Seconds(5)))
	if _, err := ana.See("bon"); err != nil {
		t.Error(err)
	}
}

// pending is a message of ben's that ana has not got.
func pending(t *testing.T, w *World, ana, ben *Node) []byte {
	t.Helper()
	w.Cut(ana, ben)
	w.Cut(ben, ana)
	before := envelopesOf(ben)
	must(t, ben.Post("voici", "Corps.", 0))
	for id, e := range envelopesOf(ben) {
		if before[id] == nil {
			return e
		}
	}
	t.Fatal("no envelope came of it")
	return nil
}

// Row 18: under the id of a true envelope an altered one comes first. It is
// never stored, and the true one is not missed.
func TestAlteredBodyUnderAValidID(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	e := pending(t, w, ana, ben)
	before := ana.Store.names()
	a := asMember(t, ana)
	a.say(1, wire.Marshal([]protocol.EnvelopeID{protocol.IDOf(e)}))
	bad := bytes.Clone(e)
	bad[len(bad)/2] ^= 1
	a.say(messageGive, bad)
	if after := ana.Store.names(); !slices.Equal(before, after) {
		t.Fatal("the altered one was stored")
	}
	a.say(messageGive, e)
	if _, err := ana.See("voici"); err != nil {
		t.Error("the true one was not taken: ", err)
	}
}

// Row 21: whichever byte of a true envelope is changed, nothing comes back that
// tells what was wrong with it.
func TestEveryByteIsMetWithSilence(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	e := pending(t, w, ana, ben)
	before := ana.Store.names()
	a := asMember(t, ana)
	outcome := map[bool]int{}
	for i := range e {
		bad := bytes.Clone(e)
		bad[i] ^= 1
		a.give(bad)
		outcome[a.closed]++
		// The mailbox is bytes 4 to 35; outside it all is one: the link ends.
		if inMailbox := i >= 4 && i < 36; a.closed == inMailbox {
			t.Fatalf("byte %d: closed %t", i, a.closed)
		}
	}
	if n := len(a.answers()); n > 0 {
		t.Errorf("%d were answered", n)
	}
	if after := ana.Store.names(); !slices.Equal(before, after) {
		t.Error("something was stored")
	}
	if outcome[false] != 32 || outcome[true] != len(e)-32 {
		t.Errorf("outcomes %v", outcome)
	}
	a.give(e)
	if _, err := ana.See("voici"); err != nil {
		t.Error("the unchanged one was not taken: ", err)
	}
}

// Rows 25 and 35: a member carries a message signed by a device that nobody let
// in, one under somebody else's name, and a stranger's keys. Nothing is shown and
// no box is sealed to the stranger.
func TestUnknownAuthorsAreNotShown(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	k := secrets(t, ben)
	e := pending(t, w, ana, ben)
	plain, err := epoch.CommonMailbox(k.Net(), ben.Now().Day()).Open(e)
	must(t, err)
	f, err := protocol.ParseFrame(plain)
	must(t, err)
	stranger := identity.DeviceKeyFromSeed([32]byte{9})
	other := f
	other.Device = device(t, cam).Public().ID()
	kem, err := epoch.NewKEMPrivate(ben.random)
	must(t, err)
	member := identity.MemberKeyFromSeed([32]byte{8})
	ghost := group.NewKeyPackage(ana.id, stranger, group.KeyPackage{Cert: identity.Certify(ana.id, member, stranger),
		KEM: kem.Public(), Lane: epoch.MailKeyFromSeed([32]byte{7}).Public(), Expires: ana.Now().Unix() + 3600})
	told := len(ana.Events)
	a := asMember(t, ana)
	for _, bad := range []protocol.Frame{protocol.SignFrame(ben.id, protocol.KindMessage, stranger, f.Body), other, ghost} {
		a.give(sealed(t, k, ana, bad))
	}
	before := ana.Store.names()
	for _, kind := range []protocol.FrameKind{protocol.KindPresence, protocol.KindAck, protocol.KindKeyUpdate, 200} {
		forged := protocol.SignFrame(ana.id, kind, device(t, ben), []byte("by ben"))
		if kind == protocol.KindPresence {
			forged = protocol.SignFrame(ana.id, kind, device(t, ben), wire.Marshal([]any{1, []string{"/ip4/192.0.2.1/tcp/1"}, ana.Now().Unix() + 3600}))
		}
		forged.Device = other.Device
		if a.give(sealed(t, k, ana, forged)); !a.closed {
			t.Errorf("kind %d under another's name was let pass", kind)
		}
	}
	if !slices.Equal(before, ana.Store.names()) {
		t.Error("what was signed by another device was stored")
	}
	if len(ana.Events) != told || len(ana.Engine.Notices(ana.Now(), nil, true)) != 0 {
		t.Error("something of it is shown")
	}
	a.give(e) // nothing else was wrong with it
	if _, err := ana.See("voici"); err != nil {
		t.Error(err)
	}
	must(t, ana.Remove(cam))
	must(t, w.Run(engine.Seconds(30)))
	if s := ana.Engine.Status(); s.Epoch != 1 || s.Members != 2 {
		t.Fatalf("after a removal: %+v", s)
	}
	opened := 0
	for _, h := range headers(t, ana) {
		if _, err := h.Open(kem, false); err == nil {
			t.Error("a box was sealed to the stranger")
		}
		opened++
	}
	if opened != 2 {
		t.Errorf("%d headers were tried", opened)
	}
}

// headers are those of all epochs that a node has stored.
func headers(t *testing.T, n *Node) (list []*epoch.Header) {
	t.Helper()
	for _, k := range n.Store.keys(4) {
		var r struct {
			_        struct{} `cbor:",toarray"`
			Frame    []byte
			Accepted bool
			Exact    bool
			Covered  int64
			Arrived  int64
			Erased   bool
		}
		must(t, wire.Unmarshal(n.Store.rows[4][k].value, engine.MaxValueSize, &r))
		f, err := protocol.ParseFrame(r.Frame)
		must(t, err)
		h, err := epoch.ParseHeader(n.id, f)
		must(t, err)
		list = append(list, h)
	}
	return list
}

// Row 38: all that ever travelled comes again: at once, after minutes, after a
// day, after a start, and after what was kept for a while is gone. There is no
// new row, nobody is told of anything, nothing appears.
func TestReplayOfEverything(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	ana.step(engine.Addresses{List: []string{"/ip4/192.0.2.1/tcp/4001"}})
	must(t, ben.Post("bref", "Corps.", 2*protocol.DaySeconds))
	must(t, ana.Post("long", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, ben.Edit("bref", "Autre.", 0))
	must(t, w.Run(engine.Seconds(60)))
	must(t, ana.Cancel("long", "Pluie."))
	must(t, w.Run(engine.Seconds(120)))
	all := envelopesOf(ana, ben, cam)
	for _, when := range []struct {
		name  string
		later engine.Time
		start bool
		shows int
	}{
		{name: "at once", shows: 2},
		{name: "after three minutes", later: engine.Seconds(180), shows: 2},
		{name: "after a day", later: engine.Seconds(25 * 3600), shows: 2},
		{name: "after a start", start: true, shows: 2},
		{name: "after the short one has expired", later: engine.Seconds(3 * protocol.DaySeconds), shows: 1},
		{name: "after 32 days", later: engine.Seconds(28 * protocol.DaySeconds), start: true, shows: 1},
	} {
		must(t, w.Run(when.later))
		maps.Copy(all, envelopesOf(ana, ben, cam))
		if when.start {
			ben.Stop()
			must(t, ben.Start())
			must(t, w.Run(engine.Seconds(60)))
		}
		before, told := ben.Store.names(), len(ben.Events)
		a := asMember(t, ben)
		asked := 0
		for _, id := range protocol.SortIDs(slices.Collect(maps.Keys(all))) {
			a.got = nil
			a.give(all[id])
			asked += len(a.got)
		}
		a.step(engine.PeerDown{Peer: a.id})
		if after := ben.Store.names(); !slices.Equal(before, after) {
			t.Errorf("%s: rows %v", when.name, slices.DeleteFunc(after, func(x string) bool { return slices.Contains(before, x) }))
		}
		if len(ben.Events) != told {
			t.Errorf("%s: told of %v", when.name, ben.Events[told:])
		}
		if got := len(ben.Engine.Notices(ben.Now(), nil, true)); got != when.shows {
			t.Errorf("%s: %d notices", when.name, got)
		}
		t.Logf("%s: %d envelopes, %d messages back", when.name, len(all), asked)
	}
}

// Row 41: a request to join is said again: on a new connection, on another
// link's, after a start, when the link has expired. Nobody comes in by it.
func TestReplayOfARequest(t *testing.T) {
	w := NewWorld(41)
	ana := w.Add("Ana")
	must(t, ana.Found("Jardin", group.DefaultPolicy(10)))
	first, err := ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	second, err := ana.Invite(engine.InviteParams{Uses: 3, AutoApprove: true})
	must(t, err)
	tag := func(l protocol.Link) (tag [32]byte) {
		id := l.ID()
		copy(tag[:], id[:])
		return tag
	}
	joiner := w.Add("Ben")
	joiner.Store = NewMemory()
	j, err := engine.Join(joiner.config(), ana.Now(), first, "Ben")
	must(t, err)
	a := attack(t, ana, engine.ClassInvite, tag(first))
	var request []byte
	must(t, j.Step(ana.Now(), engine.PeerUp{Peer: 1, Class: engine.ClassInvite, Dialled: true}))
	for said := 0; request == nil; said = len(a.got) {
		r := j.Ready()
		if r.Empty() {
			t.Fatal("the joiner never asked")
		}
		out := slices.Clone(r.Send)
		j.Advance()
		for _, m := range out {
			if m.Data[0] == messageGive {
				request = bytes.Clone(m.Data[1:])
			}
			a.say(m.Data[0], m.Data[1:])
		}
		for _, m := range a.got[said:] {
			must(t, j.Step(ana.Now(), engine.Received{Peer: 1, Data: m}))
		}
	}
	members := func() int { return len(ana.Engine.Members()) }
	if members() != 2 {
		t.Fatalf("the request let in %d", members()-1)
	}
	again := func(what string, l protocol.Link) {
		t.Helper()
		before := ana.Store.names()
		x := attack(t, ana, engine.ClassInvite, tag(l))
		for range 3 {
			x.say(messageGive, request)
		}
		x.step(engine.PeerDown{Peer: x.id})
		if members() != 2 || len(ana.Engine.Requests()) != 0 || !slices.Equal(before, ana.Store.names()) {
			t.Errorf("%s: %d members, %d requests", what, members(), len(ana.Engine.Requests()))
		}
	}
	again("again", first)
	again("by another link", second)
	ana.Stop()
	must(t, ana.Start())
	again("after a start", first)
	must(t, w.Run(engine.Seconds(4*protocol.DaySeconds)))
	again("after it has expired", first)
	again("by another link, expired", second)
}

// Rows 46 and 47: whoever is not a member learns nothing by asking, hints and
// what does not open are never answered, and reading leaves no trace: neither
// on the wire nor on the disk.
func TestNoAnswersAndNoTraceOfReading(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	l, err := ana.Invite(engine.InviteParams{})
	must(t, err)
	must(t, ben.Post("avis", "Corps.", 0))
	must(t, w.Run(engine.Seconds(5)))
	var ids []protocol.EnvelopeID
	for id := range envelopesOf(ana) {
		ids = append(ids, id)
	}
	list := wire.Marshal(protocol.SortIDs(ids))
	id := l.ID()
	var tag [32]byte
	copy(tag[:], id[:])
	guest := attack(t, ana, engine.ClassInvite, tag)
	for range 100 {
		for _, kind := range []byte{1, 2, 4, 5, 6, 8, 9, 200} {
			guest.say(kind, list)
		}
	}
	if len(guest.got) > 0 {
		t.Errorf("a guest was answered %d times", len(guest.got))
	}
	guest.say(7, wire.Marshal([]protocol.MailboxID{{1}, {2}}))
	for _, m := range guest.got {
		if m[0] == messageGive {
			t.Error("a guest was given what is in a mailbox that does not exist")
		}
	}
	late := attack(t, ana, engine.ClassCatchUp, ana.gate.Accept[0].Tag)
	late.say(messageWant, list)
	messages := 0
	for _, n := range late.got {
		if n[0] != messageGive {
			continue
		}
		plain, err := epoch.CommonMailbox(secrets(t, ana).Net(), ana.Now().Day()).Open(n[1:])
		if err != nil {
			continue
		}
		if f, _ := protocol.ParseFrame(plain); f.Kind == protocol.KindMessage || f.Kind == protocol.KindPresence {
			messages++
		}
	}
	if messages > 0 {
		t.Errorf("an older key was given %d messages", messages)
	}
	member := asMember(t, ana)
	for range 1_000 {
		member.step(engine.Hinted{Peer: member.id, IDs: ids})
	}
	if len(member.got) > 0 {
		t.Errorf("hints of what is held were answered %d times", len(member.got))
	}
	before := ana.Store.names()
	for range 10 {
		for _, v := range ana.Engine.Notices(ana.Now(), []string{"fr"}, true) {
			if _, err := ana.Engine.Notice(ana.Now(), v.Notice.String(), nil); err != nil {
				t.Fatal(err)
			}
		}
		ana.Engine.Members()
		ana.Engine.Requests()
		ana.Engine.Status()
	}
	if r := ana.Engine.Ready(); !r.Empty() || !slices.Equal(before, ana.Store.names()) {
		t.Errorf("reading asks for something to be done: %+v", r)
	}
}

// Row 20: one device's junk fills its own share of an epoch and no more. Others
// are heard, the roster changes, also by operations of that same device.
func TestOneDeviceCannotFillTheDisk(t *testing.T) {
	w, ana, ben, cam := gathered(t)
	k, d := secrets(t, ana), device(t, ana) // the worst: an organiser's
	// Ana herself hears nothing of it, or she would ask for the next epoch.
	for _, n := range []*Node{ben, cam} {
		w.Cut(ana, n)
		w.Cut(n, ana)
	}
	a := asMember(t, ben)
	flood := func(from, n, size int) (took int) {
		t.Helper()
		for i := range n {
			body := bytes.Repeat([]byte{1}, size)
			copy(body, fmt.Sprint("junk ", from+i))
			e := sealed(t, k, ben, protocol.SignFrame(ben.id, 200, d, body))
			a.give(e)
			if ben.holds(protocol.IDOf(e)) {
				took += len(e)
			}
		}
		return took
	}
	const share = 9 << 20
	took := flood(0, 200, 60_000) + flood(200, 100, 1_000) // the small ones fill what is left
	if took > share || took < share-16*protocol.BucketSmall {
		t.Fatalf("300 envelopes took %d bytes", took)
	}
	ben.Stop()
	must(t, ben.Start())
	must(t, w.Run(engine.Seconds(10)))
	a = asMember(t, ben)
	if took := flood(1_000, 20, 1_000); took > 0 {
		t.Errorf("a start made room for %d bytes more", took)
	}
	must(t, cam.Post("utile", "Corps.", 0))
	must(t, w.Run(engine.Seconds(5)))
	if _, err := ben.See("utile"); err != nil {
		t.Error("another author is not heard: ", err)
	}
	must(t, ana.Remove(cam))
	// In that very epoch the operation itself is taken.
	ops := 0
	for _, r := range ana.Store.rows[tableOfOps] {
		f, err := protocol.ParseFrame(r.value)
		must(t, err)
		e := sealed(t, k, ben, f)
		if a.give(e); ben.holds(protocol.IDOf(e)) {
			ops++
		}
	}
	if all := len(ana.Store.rows[tableOfOps]); ops != all || len(ben.Engine.Members()) != 2 {
		t.Errorf("of %d operations %d were taken, %d members", all, ops, len(ben.Engine.Members()))
	}
	w.Heal(ana, ben)
	must(t, w.Run(engine.Seconds(60)))
	if s := ben.Engine.Status(); s.Members != 2 || s.Epoch == 0 {
		t.Errorf("an operation of the full device did not count: %+v", s)
	}
	// The next epoch is a new share.
	must(t, ana.Post("après", "Corps.", 0))
	must(t, w.Run(engine.Seconds(5)))
	if _, err := ben.See("après"); err != nil {
		t.Error(err)
	}
}

// Row 20, the other side: who has much to say is not cut short. The rest waits
// for the next epoch, for which the device asks in time.
func TestFullShareWaitsForTheNextEpoch(t *testing.T) {
	w, ana, ben, _ := gathered(t)
	body := strings.Repeat("mot ", 2_900)
	for i := range 620 { // 9.7 MiB in envelopes of 16 KiB
		must(t, ben.Post(fmt.Sprint("n", i), body, 0))
	}
	if ben.Engine.Status().Epoch != 0 {
		t.Fatal("the epoch changed before anybody could hear of it")
	}
	must(t, w.Run(engine.Seconds(1_800)))
	for _, n := range []*Node{ana, ben} {
		if got := len(n.Engine.Notices(n.Now(), nil, true)); got != 620 || n.epoch() == 0 {
			t.Errorf("%s shows %d notices at epoch %d", n.Name, got, n.epoch())
		}
	}
	must(t, w.Check())
}

// keeps says whether a text is in some row.
func (m *Memory) keeps(text string) bool {
	for _, rows := range m.rows {
		for _, r := range rows {
			if bytes.Contains(r.value, []byte(text)) {
				return true
			}
		}
	}
	return false
}

// Row 43: a clock that jumps a year ahead destroys nothing that it cannot bring
// back; one that runs a year back, also over a start, brings nothing back; and
// what is dated ahead is not shown before its time.
func TestClockJumps(t *testing.T) {
	const year = 365 * protocol.DaySeconds
	w, ana, ben, cam := gathered(t)
	must(t, ben.Post("durable", "Texte durable.", 5*protocol.DaySeconds))
	must(t, ben.Post("bref", "Texte bref.", protocol.DaySeconds))
	must(t, w.Run(engine.Seconds(60)))
	shows := func(n *Node, want ...string) {
		t.Helper()
		var got []string
		for _, v := range n.Engine.Notices(n.Now(), nil, false) {
			got = append(got, v.Title)
		}
		if must(t, wantSet(got, want)); len(want) == 0 && len(got) > 0 {
			t.Error(got)
		}
	}
	shows(ana, "durable", "bref")

	before := ana.Store.names()
	ana.Skew = engine.Seconds(year)
	must(t, w.Run(engine.Seconds(600)))
	if !ana.Store.keeps("Texte durable.") || !ana.Store.keeps("Texte bref.") {
		t.Error("a wrong clock destroyed what has not expired")
	}
	ana.Stop()
	must(t, ana.Start())
	must(t, w.Run(engine.Seconds(60)))
	for _, row := range before {
		// Rows of links and requests come and go; texts and secrets stay.
		if (strings.HasPrefix(row, "8 ") || strings.HasPrefix(row, "5 ")) && !slices.Contains(ana.Store.names(), row) {
			t.Errorf("after a start with a wrong clock the row %s is gone", row)
		}
	}
	ana.Skew = 0
	must(t, w.Run(engine.Seconds(600)))
	shows(ana, "durable", "bref")

	must(t, w.Run(engine.Seconds(2*protocol.DaySeconds)))
	shows(ana, "durable")
	if ana.Store.keeps("Texte bref.") {
		t.Error("what expired is still on the disk")
	}
	ana.Skew = -engine.Seconds(year)
	ana.Stop()
	must(t, ana.Start())
	must(t, w.Run(engine.Seconds(600)))
	shows(ana)
	if v, err := ana.See("bref"); err == nil {
		t.Errorf("what expired is back: %s", v.Status)
	}
	ana.Skew = 0
	must(t, w.Run(engine.Seconds(600)))
	shows(ana, "durable")

	cam.Skew = engine.Seconds(20 * 3600)
	must(t, cam.Post("demain", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	shows(ana, "durable")
	must(t, w.Run(engine.Seconds(20*3600)))
	shows(ana, "durable", "demain")
	shows(ben, "durable", "demain")
}
