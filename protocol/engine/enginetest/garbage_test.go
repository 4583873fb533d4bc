package enginetest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Spec 95 row 2: a thousand bad messages of every kind from a proven member, who has
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
		protocol.KindKeyUpdate, protocol.KindPresence, protocol.KindBatch, protocol.KindAck, protocol.KindOriginal}
	before, told := ana.Store.names(), len(ana.Events)
	a := asMember(t, ana)
	closed := 0
	for i := range 1_000 {
		switch i % 5 {
		case 0: // a message of the link
			a.say(byte(i/5%20), noise(rng.IntN(3_000)))
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

// Spec 95 row 18: under the id of a true envelope an altered one comes first. It is
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

// Spec 95 row 21: whichever byte of a true envelope is changed, nothing comes back that
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

// Spec 95 rows 25 and 35: a member carries a message signed by a device that nobody let
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
			forged = protocol.SignFrame(ana.id, kind, device(t, ben), wire.Marshal([]any{1, []string{"/ip4/192.0.2.1/tcp/1"}, ana.Now().Unix()}))
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
