package epoch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Spec 30 section 3: one test per input of each derivation, that it counts.
func TestEachFieldOfEachDerivationCounts(t *testing.T) {
	type in struct{ a, b, c [32]byte }
	differs := func(name string, fields int, f func(in) []byte) {
		t.Helper()
		seen := map[string]int{string(f(in{})): -1}
		for i := range fields {
			x := in{}
			[]*[32]byte{&x.a, &x.b, &x.c}[i][31] = 1
			out := string(f(x))
			if j, ok := seen[out]; ok {
				t.Errorf("%s: field %d changes nothing that field %d does not", name, i, j)
			}
			seen[out] = i
		}
	}
	bytesOf := func(b [32]byte) []byte { return b[:] }
	differs("hedged", 3, func(x in) []byte {
		return bytesOf(hedged(HedgeKey{newSecret(x.a)}, x.b, label.EpochSecret, x.c[:]))
	})
	differs("confirm", 3, func(x in) []byte { return bytesOf(confirm(x.a, x.b, x.c)) })
	differs("slot", 2, func(x in) []byte {
		return fmt.Append(nil, slotOf(protocol.EpochID(x.a), identity.DeviceID(x.b[16:])))
	})
	differs("chain", 2, func(x in) []byte {
		return bytesOf(newChain(label.Expand, x.a, identity.DeviceID(x.b[16:])).secret)
	})
	differs("ratchet", 2, func(x in) []byte {
		k, next := ratchet(label.Expand, x.a, uint32(x.b[31]))
		return slices.Concat(k.key[:], k.nonce[:], next[:])
	})
	differs("sender data", 2, func(x in) []byte {
		k, n := senderDataKey(label.Expand, x.a, x.b[:])
		return slices.Concat(k[:], n[:])
	})
	differs("padding", 2, func(x in) []byte { b := padBox(x.a, uint32(x.b[31])); return b.Tag[:] })
	differs("padding ciphertext", 2, func(x in) []byte { return padBox(x.a, uint32(x.b[31])).Ciphertext })
	differs("tag", 2, func(x in) []byte {
		var pk protocol.KEMPublic
		copy(pk[:], x.b[:])
		tag := tagOf(x.a, pk.Ref())
		return tag[:]
	})
	differs("rendezvous", 2, func(x in) []byte {
		return bytesOf(RendezvousOf([16]byte(x.a[16:]), protocol.InviteID(x.b[16:])).Seed())
	})
	differs("proof", 2, func(x in) []byte { return bytesOf(proof(Rendezvous{newSecret(x.a)}, x.b)) })
	differs("roster", 3, func(x in) []byte {
		var pk protocol.KEMPublic
		copy(pk[:], x.c[:])
		return bytesOf(RosterHash([]Boxed{{identity.MemberID(x.a[16:]), identity.DeviceID(x.b[16:]), pk.Ref()}}))
	})
	differs("pages", 2, func(x in) []byte { return bytesOf(hashPages([]pageRef{{First: Tag(x.a[24:]), Hash: x.b}})) })
	// All secrets that follow from one are different.
	k := newKeys(protocol.EpochID{}, [32]byte{1}, nil)
	all := map[[32]byte]bool{k.net.Seed(): true, k.senderData: true, k.pad: true, k.confirm: true, k.tree.nodes[node{}]: true}
	if len(all) != 5 {
		t.Error("two secrets of the key schedule are one")
	}
}

// Nothing that holds a secret can be printed, logged, encoded or compared.
func TestSecretsCannotBePrinted(t *testing.T) {
	g := newGroup(t, 2, 20)
	_, _, k := g.issue(t)
	mark := [32]byte(bytes.Repeat([]byte{0xab}, 32))
	k.pad, k.org = mark, mark
	values := []any{k, *k, NetKeyFromBytes(mark), KEMPrivateFromSeed(mark), MailKeyFromSeed(mark), RescueSeedFromBytes(mark),
		Rendezvous{newSecret(mark)}, HedgeKey{newSecret(mark)}, *RescueMailbox(RescueSeedFromBytes(mark)),
		JoinRequest{Rescue: RescueSeedFromBytes(mark)}, Welcome{Genesis: mark[:]}, WelcomeEpoch{Keys: mark[:]},
		ReBox{Originals: [][]byte{mark[:]}}, RescueItem{Seed: RescueSeedFromBytes(mark)}, ResponseItem{Body: mark[:]}}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			if s := fmt.Sprintf(verb, v); s != redacted {
				t.Errorf("%T prints as %q", v, s)
			}
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		if !strings.Contains(log.String(), redacted) {
			t.Errorf("%T is logged as %s", v, log.String())
		}
		if b, err := json.Marshal(v); err == nil {
			t.Errorf("%T encodes to %s", v, b)
		}
		if reflect.TypeOf(v).Kind() != reflect.Pointer && reflect.TypeOf(v).Comparable() {
			t.Errorf("%T can be compared", v)
		}
	}
}

// The frontier that a record implies is the one that puncturing leaves.
func TestTreePuncture(t *testing.T) {
	root := [32]byte{1}
	whole := newTree(label.Expand, treeDepth, root)
	tr := newTree(label.Expand, treeDepth, root)
	slots := []uint64{0, 1<<64 - 1, 1 << 63, 1<<63 - 1, 5, 4, 0xdeadbeef00000000, 0xdeadbeef00000001}
	for _, s := range slots {
		want, _ := whole.leaf(s)
		if got, ok := tr.leaf(s); !ok || got != want {
			t.Fatalf("slot %x: wrong leaf", s)
		}
		if got, ok := tr.puncture(s); !ok || got != want {
			t.Fatalf("slot %x: wrong leaf", s)
		}
		if _, ok := tr.puncture(s); ok {
			t.Fatalf("slot %x was given out twice", s)
		}
		held := frontier(treeDepth, tr.taken)
		if len(held) != len(tr.nodes) {
			t.Fatalf("the record implies %d nodes, the tree holds %d", len(held), len(tr.nodes))
		}
		for _, n := range held {
			if _, ok := tr.nodes[n]; !ok {
				t.Fatalf("the record implies node %v", n)
			}
			for _, s := range tr.taken {
				if s>>(treeDepth-n.depth) == n.prefix {
					t.Fatalf("node %v above a taken slot is kept", n)
				}
			}
		}
	}
}

// Spec 30 section 3: 19 KB at 10 senders, and the record says all.
func TestRecordsRoundTrip(t *testing.T) {
	g := newGroup(t, 10, 21)
	_, h, sender := g.issue(t)
	reader := g.open(t, h, 1)
	var late []protocol.Frame
	for _, p := range g.people {
		for range 3 {
			f, _, err := sender.Seal(g.id, p.key, text("x"), g.random)
			if err != nil {
				t.Fatal(err)
			}
			late = append(late, f)
		}
		g.read(t, reader, late[len(late)-1]) // passes over two keys
	}
	if n := len(reader.MarshalBase()); n < 18_000 || n > 21_000 {
		t.Errorf("base record of %d bytes", n)
	}
	again := reload(t, reader)
	if !bytes.Equal(again.MarshalBase(), reader.MarshalBase()) {
		t.Error("base record does not round-trip")
	}
	base := again.MarshalBase()
	for i, f := range late {
		if i%3 == 2 {
			if _, err := again.Open(g.id, f, g.lookup); !errors.Is(err, ErrReplay) {
				t.Errorf("replay after a reload: %v", err)
			}
			continue
		}
		g.read(t, again, f)
	}
	if !bytes.Equal(base, again.MarshalBase()) {
		t.Error("a later message of a device changed the base record")
	}
	c, _ := again.MarshalChain(g.people[0].id())
	if len(c) > 110 {
		t.Errorf("a chain without skipped keys has %d bytes", len(c))
	}
}

func TestRecordRefusals(t *testing.T) {
	g := newGroup(t, 3, 22)
	_, h, k := g.issue(t)
	reader := g.open(t, h, 1)
	for i := range 4 {
		f, _, _ := k.Seal(g.id, g.people[0].key, text("x"), g.random)
		if i == 3 {
			g.read(t, reader, f)
		}
	}
	d := g.people[0].id()
	record, _ := reader.MarshalChain(d)
	var good chainRecord
	if err := wire.Unmarshal(record, MaxChainRecord, &good); err != nil || len(good.Skipped) != 3*skippedSize {
		t.Fatal("the record does not hold three skipped keys")
	}
	before := wire.Marshal(good)
	for name, spoil := range map[string]func(*chainRecord){
		"version":          func(r *chainRecord) { r.Version++ },
		"epoch":            func(r *chainRecord) { r.Epoch[0]++ },
		"device not taken": func(r *chainRecord) { r.Device[0]++ },
		"next 0":           func(r *chainRecord) { r.Next = 0 },
		"next too high":    func(r *chainRecord) { r.Next = MaxGenerations + 1 },
		"end with secret":  func(r *chainRecord) { r.Next = MaxGenerations },
		"no secret":        func(r *chainRecord) { r.Secret = [32]byte{} },
		"skipped cut":      func(r *chainRecord) { r.Skipped = r.Skipped[1:] },
		"skipped twice":    func(r *chainRecord) { copy(r.Skipped[skippedSize:], r.Skipped[:4]) },
		"skipped ahead":    func(r *chainRecord) { r.Next = 2 },
	} {
		r := good
		r.Skipped = bytes.Clone(good.Skipped)
		spoil(&r)
		if err := reader.AddChain(wire.Marshal(r)); !errors.Is(err, ErrRecord) {
			t.Errorf("chain, %s: %v", name, err)
		}
	}
	if after, _ := reader.MarshalChain(d); !bytes.Equal(after, before) {
		t.Error("a refused record changed the keys")
	}
	var base baseRecord
	wire.Unmarshal(reader.MarshalBase(), MaxBaseRecord, &base)
	for name, spoil := range map[string]func(*baseRecord){
		"version":    func(r *baseRecord) { r.Version++ },
		"org short":  func(r *baseRecord) { r.Org = r.Org[1:] },
		"taken cut":  func(r *baseRecord) { r.Taken = r.Taken[1:] },
		"twice":      func(r *baseRecord) { r.Taken = slices.Concat(r.Taken, r.Taken) },
		"nodes cut":  func(r *baseRecord) { r.Nodes = r.Nodes[1:] },
		"node less":  func(r *baseRecord) { r.Nodes = r.Nodes[32:] },
		"node more":  func(r *baseRecord) { r.Nodes = append(r.Nodes, r.Nodes[:32]...) },
		"1001 slots": func(r *baseRecord) { r.Taken = bytes.Repeat([]byte{0, 0, 0, 0, 0, 0, 0, 1}, 1001) },
	} {
		r := base
		spoil(&r)
		if _, err := ParseKeys(wire.Marshal(r)); !errors.Is(err, ErrRecord) {
			t.Errorf("base, %s: %v", name, err)
		}
	}
	b := reader.MarshalBase()
	for n := 0; n < len(b); n += 13 {
		if _, err := ParseKeys(b[:n]); !errors.Is(err, ErrRecord) {
			t.Fatalf("base cut to %d: %v", n, err)
		}
	}
}

// Spec 30 section 10: a new member reads on from the adder's place, and gets no
// key that the adder had used or passed over.
func TestExportGivesNoEarlierKeys(t *testing.T) {
	g := newGroup(t, 4, 23)
	_, h, sender := g.issue(t)
	adder := g.open(t, h, 1)
	var f []protocol.Frame
	for range 4 {
		x, _, _ := sender.Seal(g.id, g.people[0].key, text("x"), g.random)
		f = append(f, x)
	}
	g.read(t, adder, f[2]) // passes over 0 and 1
	joiner := must[*Keys](t)(ParseExport(must[[]byte](t)(adder.Export(false))))
	for i, x := range f {
		_, err := joiner.Open(g.id, x, g.lookup)
		if want := i == 3; want != (err == nil) || (!want && !errors.Is(err, ErrReplay)) {
			t.Errorf("message %d: %v", i, err)
		}
	}
	other, _, _ := sender.Seal(g.id, g.people[2].key, text("y"), g.random)
	g.read(t, joiner, other)
	if joiner.Organiser() || h.Confirm(joiner) != nil {
		t.Error("the export is not a reader's keys of the epoch")
	}
	if op := must[*Keys](t)(ParseExport(must[[]byte](t)(adder.Export(true)))); !op.Organiser() || h.Confirm(op) != nil {
		t.Error("an operator's export lacks the organisers' secret")
	}
	wrong := must[*Keys](t)(ParseExport(must[[]byte](t)(adder.Export(true))))
	wrong.org[0]++
	if err := h.Confirm(wrong); !errors.Is(err, ErrOrgSecret) {
		t.Errorf("wrong organisers' secret: %v", err)
	}
	wrong.confirm[0]++
	if err := h.Confirm(wrong); !errors.Is(err, ErrConfirm) {
		t.Errorf("wrong confirm key: %v", err)
	}
	half := must[*Keys](t)(ParseKeys(adder.MarshalBase()))
	if _, err := half.Export(false); err == nil {
		t.Error("keys without their chains were exported")
	}
	// An export with skipped keys, or one chain less, is refused.
	var r exportRecord
	wire.Unmarshal(must[[]byte](t)(adder.Export(false)), MaxExport, &r)
	full, _ := adder.MarshalChain(g.people[0].id())
	for name, chains := range map[string][][]byte{"skipped": {full}, "fewer": {}, "twice": {r.Chains[0], r.Chains[0]}} {
		bad := r
		bad.Chains = chains
		if _, err := ParseExport(wire.Marshal(bad)); !errors.Is(err, ErrRecord) {
			t.Errorf("export, %s: %v", name, err)
		}
	}
}
