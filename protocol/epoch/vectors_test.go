package epoch

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"testing/cryptotest"
	"unicode"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// hexBytes is a byte string in a vector file.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) (err error) {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	*h, err = hex.DecodeString(s)
	return err
}

func (h hexBytes) MarshalJSON() ([]byte, error) { return json.Marshal(hex.EncodeToString(h)) }

// published reads a published vector file, or skips where there are none.
func published(t *testing.T, name string, v any) {
	t.Helper()
	dir := os.Getenv("PALABRE_VECTORS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	b, err := os.ReadFile(filepath.Join(dir, "mls", name))
	if os.IsNotExist(err) && os.Getenv("CI") == "" {
		t.Skipf("no published vectors in %s; set PALABRE_VECTORS to their folder", dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

// mlsExpand is ExpandWithLabel of RFC 9420 with the prefix of MLS itself. All
// labels and contexts here are shorter than 64 bytes.
func mlsExpand(secret []byte, l label.Label, context []byte, n int) []byte {
	name := "MLS 1.0 " + string(l)
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(info, byte(len(name))), name...)
	info = append(append(info, byte(len(context))), context...)
	out, err := hkdf.Expand(sha256.New, secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return out
}

// RFC 9420 sections 9 and 6.3.2, every leaf and generation of the vectors.
func TestPublishedSecretTree(t *testing.T) {
	var vectors []struct {
		CipherSuite      int      `json:"cipher_suite"`
		EncryptionSecret hexBytes `json:"encryption_secret"`
		SenderData       struct {
			Secret     hexBytes `json:"sender_data_secret"`
			Ciphertext hexBytes
			Key, Nonce hexBytes
		} `json:"sender_data"`
		Leaves [][]struct {
			Generation       uint32
			ApplicationKey   hexBytes `json:"application_key"`
			ApplicationNonce hexBytes `json:"application_nonce"`
			HandshakeKey     hexBytes `json:"handshake_key"`
			HandshakeNonce   hexBytes `json:"handshake_nonce"`
		}
	}
	published(t, "secret-tree.json", &vectors)
	checked := 0
	for _, v := range vectors {
		if v.CipherSuite != 3 {
			continue
		}
		key, nonce := senderDataKey(mlsExpand, [32]byte(v.SenderData.Secret), v.SenderData.Ciphertext)
		if !bytes.Equal(key[:], v.SenderData.Key) || !bytes.Equal(nonce[:], v.SenderData.Nonce) {
			t.Errorf("%d leaves: sender data", len(v.Leaves))
		}
		depth := uint8(0)
		for 1<<depth < len(v.Leaves) {
			depth++
		}
		tr := newTree(mlsExpand, depth, [32]byte(v.EncryptionSecret))
		for i, generations := range slices.Backward(v.Leaves) {
			leaf, ok := tr.puncture(uint64(i))
			if !ok {
				t.Fatalf("leaf %d of %d is not there", i, len(v.Leaves))
			}
			root := func(l label.Label) *chain { return &chain{secret: [32]byte(mlsExpand(leaf[:], l, nil, 32))} }
			application, handshake := root(label.Application), root(label.Handshake)
			for _, g := range generations {
				for _, c := range []struct {
					chain      *chain
					key, nonce hexBytes
				}{{application, g.ApplicationKey, g.ApplicationNonce}, {handshake, g.HandshakeKey, g.HandshakeNonce}} {
					got, err := c.chain.key(mlsExpand, g.Generation)
					if err != nil || !bytes.Equal(got.key[:], c.key) || !bytes.Equal(got.nonce[:], c.nonce) {
						t.Errorf("%d leaves, leaf %d, generation %d: %v", len(v.Leaves), i, g.Generation, err)
					}
					if err := c.chain.use(mlsExpand, g.Generation); err != nil {
						t.Error(err)
					}
					checked++
				}
			}
		}
		if len(tr.nodes) != 0 {
			t.Errorf("%d leaves: %d secrets left when all are taken", len(v.Leaves), len(tr.nodes))
		}
	}
	if checked != 164 {
		t.Errorf("%d keys checked, want 164", checked)
	}
}

// RFC 9420 section 8: what follows from the epoch secret by DeriveSecret alone.
// The vectors do not hold the epoch secret itself; it is worked out from the
// joiner secret as section 8 says.
func TestPublishedKeySchedule(t *testing.T) {
	var vectors []struct {
		CipherSuite int `json:"cipher_suite"`
		Epochs      []struct {
			GroupContext     hexBytes `json:"group_context"`
			JoinerSecret     hexBytes `json:"joiner_secret"`
			PskSecret        hexBytes `json:"psk_secret"`
			SenderDataSecret hexBytes `json:"sender_data_secret"`
			EncryptionSecret hexBytes `json:"encryption_secret"`
			ConfirmationKey  hexBytes `json:"confirmation_key"`
			WelcomeSecret    hexBytes `json:"welcome_secret"`
		}
	}
	published(t, "key-schedule.json", &vectors)
	checked := 0
	for _, v := range vectors {
		if v.CipherSuite != 3 {
			continue
		}
		for i, e := range v.Epochs {
			member := label.Extract(e.JoinerSecret, e.PskSecret)
			// The group context is longer than mlsExpand's one length byte holds.
			secret := longExpand(member[:], "epoch", e.GroupContext)
			for l, want := range map[label.Label]hexBytes{
				label.SenderData: e.SenderDataSecret, label.Encryption: e.EncryptionSecret, label.Confirm: e.ConfirmationKey,
			} {
				if !bytes.Equal(mlsExpand(secret, l, nil, 32), want) {
					t.Errorf("epoch %d: %s", i, l)
				}
				checked++
			}
			if !bytes.Equal(mlsExpand(member[:], "welcome", nil, 32), e.WelcomeSecret) {
				t.Errorf("epoch %d: welcome", i)
			}
		}
	}
	if checked == 0 {
		t.Error("no vector was checked")
	}
}

func longExpand(secret []byte, l label.Label, context []byte) []byte {
	name := "MLS 1.0 " + string(l)
	info := append([]byte{0, 32, byte(len(name))}, name...)
	info = binary.BigEndian.AppendUint16(info, uint16(len(context))|1<<14)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, context...)), 32)
	if err != nil {
		panic(err)
	}
	return out
}

// ownVectors is protocol/spec/vectors/epoch.json. All byte strings are hex.
type ownVectors struct {
	About   string
	Group   hexBytes
	KEMSeed hexBytes // of an operating device's box
	KEMKey  hexBytes // Ref("KemKey", its public key)
	Header  struct {
		Frame, Epoch, CoreHash, PagesHash        hexBytes
		SignerKey                                hexBytes
		Net, SenderData, Pad, Confirm, Org, Root hexBytes
		Recon                                    hexBytes
		InboxSeed, InboxReadSeed                 hexBytes
	}
	Message struct {
		Frame, Content, ContentID hexBytes
		Generation                uint32
		Key, Nonce                hexBytes // of the generation, before the guard
	}
	Mailboxes []vectorMailbox
	Join      struct {
		Secret, Invite, Rendezvous hexBytes
		CardSeed, CardFrame        hexBytes
		JoinSeed, RequestFrame     hexBytes
		KeyPackage, KeyPackageHash hexBytes
		Name                       string
	}
	Welcome struct {
		Frame, KEMSeed, KeyPackageHash, Plain hexBytes
	}
	Refused []vectorRefused

	// The device of KEMSeed sends the items and gets the ReBox. Organisers open the
	// items with Header.InboxSeed.
	Device hexBytes
	Inbox  []vectorItem
	ReBox  struct {
		Frame, SignerKey  hexBytes
		ContentKey, Plain hexBytes
	}
	Author struct { // an epoch over Header, issued by an author
		Frame, Epoch, OrgEpoch, Net hexBytes
	}
	Paged struct { // the header of an epoch of 49 devices, and the page of KEMSeed
		Group, Frame, Page, KEMSeed hexBytes
		Index                       int
		PagesHash, Net              hexBytes
		Address                     hexBytes // of the page's mailbox
	}
}

type vectorMailbox struct {
	Name                  string
	Root, Write, Read     hexBytes
	Address, EnvelopeID   hexBytes
	Frame                 hexBytes
	EnvelopeKey, NonceKey hexBytes
	Nonce                 hexBytes
}

type vectorRefused struct {
	Why  string
	What string // header, envelope, inbox, page
	Data hexBytes
}

var rewrite = flag.Bool("rewrite", false, "write the vector file anew")

const ownFile = "../spec/vectors/epoch.json"

func vectorGroup(t *testing.T) *group {
	g := newGroup(t, 3, 4_242)
	g.random = dice(4_243)
	return g
}

func makeVectors(t *testing.T) ownVectors {
	cryptotest.SetGlobalRandom(t, 4_244)
	g := vectorGroup(t)
	v := ownVectors{About: "Spec 30. Suite 1. Boxes were sealed with random bytes that the file does not name: open them."}
	seed := g.people[1].kem.Seed()
	ref := g.people[1].pub.Ref()
	v.Group, v.KEMSeed, v.KEMKey = g.id[:], seed[:], ref[:]
	f, h, k := g.issue(t)
	pub := g.people[0].key.Public()
	root, recon := k.tree.nodes[node{}], k.net.Recon()
	inbox, reader, _ := k.Inbox()
	x := &v.Header
	x.Frame, x.Epoch, x.CoreHash, x.PagesHash, x.SignerKey = f.Marshal(), h.id[:], h.coreHash[:], h.pagesHash[:], pub[:]
	x.Net, x.SenderData, x.Pad, x.Confirm, x.Org, x.Root, x.Recon = k.net.slice(), k.senderData[:], k.pad[:], k.confirm[:], k.org[:], root[:], recon[:]
	x.InboxSeed, x.InboxReadSeed = inbox.slice(), reader.slice()

	k.use(g.people[0].id(), 2)
	c, _, _ := k.chain(g.people[0].id())
	mk, _ := c.key(label.Expand, 3)
	m, o, err := k.Seal(g.id, g.people[0].key, text("Réunion mardi à 18 h"), g.random)
	if err != nil {
		t.Fatal(err)
	}
	id := o.ID(g.id)
	v.Message.Frame, v.Message.Content, v.Message.ContentID = m.Marshal(), o.Content, id[:]
	v.Message.Generation, v.Message.Key, v.Message.Nonce = 3, mk.key[:], mk.nonce[:]

	r := RendezvousOf([16]byte{1}, protocol.InviteID{2})
	card := MailKeyFromSeed([32]byte{4})
	for _, b := range []struct {
		name string
		box  *Mailbox
	}{
		{"common, day 19675", CommonMailbox(k.net, 19_675)},
		{"inbox, day 19675", InboxMailbox(k.net, 19_675, h.Core.InboxRead)},
		{"lane of key 05 00…", LaneMailbox(k.net, protocol.LanePublic{5})},
		{"page 0", PageMailbox(h, 0)},
		{"rescue of seed 05 00…", RescueMailbox(RescueSeedFromBytes([32]byte{5}))},
		{"card", CardMailbox(r, card.Public())},
		{"request", RequestMailbox(r, card.Public())},
	} {
		e := must[[]byte](t)(b.box.Seal(m.Marshal()))
		env := must[protocol.Envelope](t)(protocol.ParseEnvelope(e))
		id, a, w, rd := protocol.IDOf(e), b.box.Address(), b.box.WriteKey(), b.box.ReadKey()
		ek, nk := label.Derive(b.box.root[:], label.Envelope), label.Derive(b.box.root[:], label.EnvelopeNonce)
		v.Mailboxes = append(v.Mailboxes, vectorMailbox{Name: b.name, Root: b.box.root[:], Write: w[:], Read: rd[:], Address: a[:],
			EnvelopeID: id[:], Frame: m.Marshal(), EnvelopeKey: ek[:], NonceKey: nk[:], Nonce: env.Nonce[:]})
	}

	join := KEMPrivateFromSeed([32]byte{6})
	pk := join.Public()
	invite := [16]byte{1}
	kp := keyPackage()
	g2 := protocol.GroupID{1}
	hash := must[[32]byte](t)(KeyPackageHash(g2, kp))
	cf := must[protocol.Frame](t)(SealCard(g2, card, Card{JoinKey: pk, Addresses: []string{"/ip4/192.0.2.1/tcp/4001"}}))
	rf := must[protocol.Frame](t)(SealRequest(g2, protocol.InviteID{2}, &pk, r, JoinRequest{KeyPackage: kp, Name: "Awa", Rescue: RescueSeedFromBytes([32]byte{7})}))
	inviteID, cs := protocol.InviteID{2}, card.Seed()
	v.Join.Secret, v.Join.Invite, v.Join.Rendezvous = invite[:], inviteID[:], r.slice()
	v.Join.CardSeed, v.Join.CardFrame, v.Join.JoinSeed, v.Join.RequestFrame = cs[:], cf.Marshal(), join.slice(), rf.Marshal()
	v.Join.KeyPackage, v.Join.KeyPackageHash, v.Join.Name = kp, hash[:], "Awa"

	w := welcomeOf(0)
	wf := must[[]protocol.Frame](t)(SealWelcome(g2, g.people[0].key, &pk, hash, w))
	v.Welcome.Frame, v.Welcome.KEMSeed, v.Welcome.KeyPackageHash, v.Welcome.Plain = wf[0].Marshal(), join.slice(), hash[:], w.marshal()

	common := CommonMailbox(k.net, 19_675)
	padded := make([]byte, protocol.RoomSmall)
	copy(padded, m.Marshal())
	wrong := common.nonce(padded)
	wrong[23]++
	v.Refused = append(v.Refused,
		vectorRefused{"nonce is not the computed one", "envelope", reseal(common, padded, wrong)},
		vectorRefused{"generation 0 with a parent", "header", g.reissue(t, f, func(c *Core, _ *headerBody) { c.Parents = []protocol.EpochID{{1}} }).Marshal()},
		vectorRefused{"unknown suite", "header", g.reissue(t, f, func(c *Core, _ *headerBody) { c.Suite = 2 }).Marshal()},
	)
	padded[protocol.RoomSmall-1] = 1
	v.Refused = append(v.Refused, vectorRefused{"padding is not zero", "envelope", reseal(common, padded, common.nonce(padded))})
	g.moreVectors(t, &v, h)
	return v
}

func lowerName(name []byte) []byte {
	out := bytes.Clone(name)
	for i := 1; i < len(out) && unicode.IsUpper(rune(out[i])); i++ {
		if i == 1 || i+1 == len(out) || !unicode.IsLower(rune(out[i+1])) {
			out[i] = byte(unicode.ToLower(rune(out[i])))
		}
	}
	return out
}

// The project's own vectors: the file is what the code makes from its seeds, and
// what the file says holds.
func TestOwnVectors(t *testing.T) {
	made, err := json.MarshalIndent(makeVectors(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	// Field names as other languages write them: KEMSeed becomes kemSeed.
	made = regexp.MustCompile(`"[A-Z][A-Za-z0-9]*":`).ReplaceAllFunc(made, lowerName)
	made = append(made, '\n')
	if *rewrite {
		if err := os.WriteFile(ownFile, made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(ownFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file, made) {
		t.Error("the file and the code differ; rewrite it only if the change of format is meant")
	}
	var v ownVectors
	if err := json.Unmarshal(file, &v); err != nil {
		t.Fatal(err)
	}
	g := vectorGroup(t)
	h := must[*Header](t)(ParseHeader(protocol.GroupID(v.Group), must[protocol.Frame](t)(protocol.ParseFrame(v.Header.Frame))))
	k := must[*Keys](t)(h.Open(KEMPrivateFromSeed([32]byte(v.KEMSeed)), true))
	if !bytes.Equal(k.net.slice(), v.Header.Net) || !bytes.Equal(k.org[:], v.Header.Org) || !bytes.Equal(h.id[:], v.Header.Epoch) {
		t.Error("the header does not open to its secrets")
	}
	o := must[*Opened](t)(k.Open(g.id, must[protocol.Frame](t)(protocol.ParseFrame(v.Message.Frame)), g.lookup))
	if !bytes.Equal(o.Original.Content, v.Message.Content) || o.Original.Generation != v.Message.Generation {
		t.Error("the message does not open to its content")
	}
	for _, r := range v.Refused {
		var err error
		switch r.What {
		case "envelope":
			_, err = CommonMailbox(k.net, 19_675).Open(r.Data)
		case "inbox":
			_, err = k.OpenInbox(g.id, must[protocol.Frame](t)(protocol.ParseFrame(r.Data)), g.lookup)
		case "page":
			_, err = ParsePage(must[protocol.Frame](t)(protocol.ParseFrame(r.Data)))
		case "header":
			_, err = ParseHeader(protocol.GroupID(v.Group), must[protocol.Frame](t)(protocol.ParseFrame(r.Data)))
		}
		if err == nil {
			t.Errorf("%s: accepted", r.Why)
		}
	}
	for _, i := range v.Inbox {
		item := must[InboxItem](t)(k.OpenInbox(g.id, must[protocol.Frame](t)(protocol.ParseFrame(i.Frame)), g.lookup))
		body := must[[]byte](t)(encodeItem(identity.DeviceID(v.Device), item))
		if !bytes.Equal(i.Plain, wire.Marshal(inboxPlain{Version: 1, Kind: item.Kind(), Body: body})) {
			t.Errorf("inbox item of kind %d does not open to its text", item.Kind())
		}
	}
	own := KEMPrivateFromSeed([32]byte(v.KEMSeed))
	r := must[*ReBox](t)(OpenReBox(g.id, []protocol.Frame{must[protocol.Frame](t)(protocol.ParseFrame(v.ReBox.Frame))}, identity.DeviceID(v.Device), own,
		func(d identity.DeviceID, _ *ReBox) (identity.DevicePublic, bool) { return g.lookup(d) }))
	if !bytes.Equal(r.marshal(), v.ReBox.Plain) {
		t.Error("the ReBox does not open to its text")
	}
	a := must[*Header](t)(ParseHeader(g.id, must[protocol.Frame](t)(protocol.ParseFrame(v.Author.Frame))))
	if ak := must[*Keys](t)(a.Open(own, true)); !bytes.Equal(ak.net.slice(), v.Author.Net) || a.KeepsInbox(h) != nil || ak.Organiser() {
		t.Error("the author's epoch does not open to its secrets")
	}
	p := must[*Header](t)(ParseHeader(protocol.GroupID(v.Paged.Group), must[protocol.Frame](t)(protocol.ParseFrame(v.Paged.Frame))))
	if err := p.AddPage(must[Page](t)(ParsePage(must[protocol.Frame](t)(protocol.ParseFrame(v.Paged.Page))))); err != nil {
		t.Fatal(err)
	}
	if pk := must[*Keys](t)(p.Open(KEMPrivateFromSeed([32]byte(v.Paged.KEMSeed)), false)); !bytes.Equal(pk.net.slice(), v.Paged.Net) {
		t.Error("the paged epoch does not open to its secrets")
	}
	if len(v.Mailboxes) != 7 || len(v.Refused) != 7 || len(v.Inbox) != 4 {
		t.Error("the file lacks vectors")
	}
}
