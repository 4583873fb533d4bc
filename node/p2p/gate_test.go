package p2p

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// device signs with its own number in front of the transcript's hash; admits
// says whom it takes.
type device struct {
	id     byte
	mute   bool
	forge  bool
	admits map[byte]bool
}

func (d device) SignGate(x []byte) (id [16]byte, sig [64]byte, ok bool) {
	id[0] = d.id
	h := mac([32]byte{d.id}, x)
	copy(sig[:], h)
	if d.forge {
		sig[63] ^= 1
	}
	return id, sig, !d.mute
}

func (d device) AdmitGate(x []byte, id [16]byte, sig [64]byte) bool {
	var want [64]byte
	copy(want[:], mac([32]byte{id[0]}, x))
	return d.admits[id[0]] && sig == want
}

type outcome struct {
	p   proven
	err error
}

// wire records what each side wrote.
type wire struct {
	net.Conn
	wrote *bytes.Buffer
}

func (w wire) Write(b []byte) (int, error) { w.wrote.Write(b); return w.Conn.Write(b) }

// meet runs both sides of the gate and returns what came of it.
func meet(dialKey Key, accept []Key, ds, ls Signer) (d, l outcome, dialled, answered []byte) {
	a, b := net.Pipe()
	var wa, wb bytes.Buffer
	done := make(chan outcome)
	go func() {
		g := gatekeeper{rw: wire{b, &wb}, ends: ends{from: "listener", to: "dialler"}, signer: ls}
		var o outcome
		o.err = g.listen(accept, func() error { return nil }, func(p proven) error { o.p = p; return nil })
		b.Close()
		done <- o
	}()
	g := gatekeeper{rw: wire{a, &wa}, ends: ends{from: "dialler", to: "listener"}, signer: ds}
	d.p, d.err = g.dial(dialKey)
	a.Close()
	return d, <-done, wa.Bytes(), wb.Bytes()
}

// Spec 60 section 2: who proves what under which classes.
func TestGateClasses(t *testing.T) {
	good := device{id: 1, admits: map[byte]bool{2: true}}
	other := device{id: 2, admits: map[byte]bool{1: true}}
	for _, c := range []struct {
		name     string
		dialler  Class
		listener Class
		ds, ls   Signer
		ok       bool
		seen     Class
		dd, ld   byte // the device that the dialler and the listener saw
		out, in  int  // messages that the dialler and the listener wrote
	}{
		{"members", Member, Member, nil, nil, true, Member, 0, 0, 1, 1},
		{"invite", Invite, Invite, good, other, true, Invite, 0, 0, 1, 1},
		{"listener newer", Member, CatchUp, good, other, true, CatchUp, 0, 1, 2, 1},
		{"dialler newer", CatchUp, Member, good, other, true, CatchUp, 2, 0, 1, 2},
		{"both old", CatchUp, CatchUp, good, other, true, CatchUp, 2, 1, 2, 2},
		{"dialler forges", Member, CatchUp, device{id: 1, forge: true}, other, false, 0, 0, 0, 2, 1},
		{"dialler removed", Member, CatchUp, device{id: 9}, other, false, 0, 0, 0, 2, 1},
		{"dialler cannot sign", Member, CatchUp, nil, other, false, 0, 0, 0, 1, 1},
		{"dialler will not sign", Member, CatchUp, device{mute: true}, other, false, 0, 0, 0, 1, 1},
		{"listener forges", CatchUp, Member, good, device{id: 2, forge: true}, false, 0, 0, 0, 1, 2},
		{"listener removed", CatchUp, Member, good, device{id: 9}, false, 0, 0, 0, 1, 2},
		{"listener cannot sign: not a byte", CatchUp, Member, good, nil, false, 0, 0, 0, 1, 0},
		{"both old, dialler removed: listener does not sign", CatchUp, CatchUp, device{id: 9, admits: good.admits}, other, false, 0, 0, 0, 2, 1},
		{"an invite is never signed for", Invite, CatchUp, good, other, false, 0, 0, 0, 1, 1},
		{"nor by the inviter", CatchUp, Invite, good, other, false, 0, 0, 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, l, out, in := meet(key("k", c.dialler), []Key{key("x", Member), key("k", c.listener)}, c.ds, c.ls)
			// A dialler that was asked to sign cannot tell by itself that it was refused.
			if ok := d.err == nil && l.err == nil; ok != c.ok {
				t.Fatalf("dialler %v, listener %v", d.err, l.err)
			}
			if len(out) != c.out*gateSize || len(in) != c.in*gateSize {
				t.Fatalf("dialler wrote %d bytes, listener %d", len(out), len(in))
			}
			if !c.ok {
				return
			}
			if d.p.class != c.seen || l.p.class != c.seen || d.p.device[0] != c.dd || l.p.device[0] != c.ld {
				t.Fatalf("dialler %+v, listener %+v", d.p, l.p)
			}
			if d.p.tag != key("k", 0).Tag || l.p.tag != key("k", 0).Tag {
				t.Fatal("wrong tag")
			}
		})
	}
}

// A key that belongs to one device is not proven by another one, whom the roster
// knows: the listener says no more than that it has the key.
func TestGateKeyOfOneDevice(t *testing.T) {
	ls := device{id: 1, admits: map[byte]bool{2: true, 3: true}}
	own := key("rescue", CatchUp)
	own.Device = [16]byte{2}
	for id, want := range map[byte]bool{2: true, 3: false} {
		d, l, _, answered := meet(key("rescue", CatchUp), []Key{own}, device{id: id, admits: map[byte]bool{1: true}}, ls)
		if (l.err == nil) != want || (d.err == nil) != want {
			t.Errorf("device %d: %v, %v", id, d.err, l.err)
		}
		if !want && len(answered) > gateSize {
			t.Errorf("device %d got %d bytes", id, len(answered))
		}
		if want && l.p.device != own.Device {
			t.Errorf("the listener took it for %x", l.p.device)
		}
	}
}

func TestGateRefusesInSilence(t *testing.T) {
	for _, accept := range [][]Key{nil, {key("other", Member)}} {
		d, l, _, in := meet(key("k", Member), accept, nil, nil)
		if !errors.Is(d.err, errGate) || !errors.Is(l.err, errGate) || len(in) != 0 {
			t.Fatalf("%v, %v, %d bytes", d.err, l.err, len(in))
		}
	}
}

// Every bit of each message counts, and so does each input of the MAC.
func TestGateMessagesAreBound(t *testing.T) {
	k, a, b := key("k", Member), nonce{1}, nonce{2}
	e := ends{from: "x", to: "y"}
	for name, m := range map[string][gateSize]byte{"M1": proof(k.Secret, 1, e, b), "M2": proof(k.Secret, 1, e, a, b)} {
		var prior []nonce
		if name == "M2" {
			prior = []nonce{a}
		}
		if _, role, n, ok := match([]Key{k}, [2]byte{1, 2}, e, &m, prior...); !ok || role != 1 || n != b {
			t.Fatal(name, "does not match")
		}
		for i := range gateSize * 8 {
			bad := m
			bad[i/8] ^= 1 << (i % 8)
			if _, _, _, ok := match([]Key{k}, [2]byte{1, 2}, e, &bad, prior...); ok {
				t.Fatalf("%s: bit %d does not count", name, i)
			}
		}
		for what, f := range map[string]func() bool{
			"key":   func() bool { _, _, _, ok := match([]Key{key("l", Member)}, [2]byte{1, 2}, e, &m, prior...); return ok },
			"role":  func() bool { _, _, _, ok := match([]Key{k}, [2]byte{3, 4}, e, &m, prior...); return ok },
			"from":  func() bool { _, _, _, ok := match([]Key{k}, [2]byte{1, 2}, ends{"z", "y"}, &m, prior...); return ok },
			"to":    func() bool { _, _, _, ok := match([]Key{k}, [2]byte{1, 2}, ends{"x", "z"}, &m, prior...); return ok },
			"split": func() bool { _, _, _, ok := match([]Key{k}, [2]byte{1, 2}, ends{"", "xy"}, &m, prior...); return ok },
			"prior": func() bool {
				_, _, _, ok := match([]Key{k}, [2]byte{1, 2}, e, &m, append(prior, nonce{3})...)
				return ok
			},
		} {
			if f() {
				t.Errorf("%s: %s does not count", name, what)
			}
		}
	}
	sealed := sealDevice(k.Secret, 1, a, b, [16]byte{7}, [64]byte{8})
	if d, s, err := openDevice(k.Secret, 1, a, b, &sealed); err != nil || d != [16]byte{7} || s != [64]byte{8} {
		t.Fatal("M3 does not open")
	}
	for i := range gateSize * 8 {
		bad := sealed
		bad[i/8] ^= 1 << (i % 8)
		if _, _, err := openDevice(k.Secret, 1, a, b, &bad); err == nil {
			t.Fatalf("M3: bit %d does not count", i)
		}
	}
	for what, open := range map[string]func() error{
		"key":     func() error { _, _, err := openDevice(key("l", 1).Secret, 1, a, b, &sealed); return err },
		"role":    func() error { _, _, err := openDevice(k.Secret, 3, a, b, &sealed); return err },
		"nonce a": func() error { _, _, err := openDevice(k.Secret, 1, b, b, &sealed); return err },
		"nonce b": func() error { _, _, err := openDevice(k.Secret, 1, a, a, &sealed); return err },
	} {
		if open() == nil {
			t.Errorf("M3: %s does not count", what)
		}
	}
	if bytes.Equal(transcript(1, e, a, b), transcript(2, e, a, b)) || bytes.Equal(transcript(1, e, a, b), transcript(1, e, b, a)) ||
		bytes.Equal(transcript(1, e, a, b), transcript(1, e.flip(), a, b)) {
		t.Error("an input of the transcript does not count")
	}
}

// The listener counts a member as proven before its answer is on the wire, and
// one that must sign only after the signature.
func TestGateAdmitsBeforeItAnswers(t *testing.T) {
	for class, want := range map[Class]int{Member: 0, Invite: 0, CatchUp: gateSize} {
		a, b := net.Pipe()
		var wrote bytes.Buffer
		before := -1
		done := make(chan error)
		go func() {
			g := gatekeeper{rw: wire{b, &wrote}, ends: ends{from: "l", to: "d"}, signer: device{admits: map[byte]bool{1: true}}}
			done <- g.listen([]Key{key("k", class)}, func() error { return nil }, func(proven) error { before = wrote.Len(); return nil })
		}()
		dialAs := class
		if class == CatchUp {
			dialAs = Member
		}
		g := gatekeeper{rw: a, ends: ends{from: "d", to: "l"}, signer: device{id: 1}}
		if _, err := g.dial(key("k", dialAs)); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || before != want {
			t.Fatalf("class %d: %v, admitted after %d bytes", class, err, before)
		}
	}
}

// A listener that echoes what the dialler sends proves nothing.
func TestGateReflection(t *testing.T) {
	a, b := net.Pipe()
	go io.Copy(b, b)
	defer b.Close()
	g := gatekeeper{rw: a, ends: ends{from: "x", to: "x"}}
	if _, err := g.dial(key("k", Member)); err == nil {
		t.Fatal("the echo was taken for an answer")
	}
}

// What was captured from one peer is refused from another.
func TestGateReplayUnderAnotherID(t *testing.T) {
	_, _, m1, _ := meet(key("k", Member), []Key{key("k", Member)}, nil, nil)
	for id, ok := range map[peer.ID]bool{"dialler": true, "another": false} {
		_, _, _, got := match([]Key{key("k", Member)}, [2]byte{1, 2}, ends{from: id, to: "listener"}, (*[gateSize]byte)(m1))
		if got != ok {
			t.Fatalf("from %q: %v", id, got)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := key("swordfish", Member)
	k.Tag = [32]byte{}
	hidden := struct{ k Key }{k} // fmt calls no method of what it reaches through this
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		if s := fmt.Sprintf(verb, k.Secret); s != "secret" {
			t.Fatalf("%s prints %q", verb, s)
		}
		for _, x := range []any{k, &k, keys(k), hidden} {
			s := fmt.Sprintf(verb, x)
			for _, form := range []string{"swordfish", "115 119 111", "0x73, 0x77", "73776f", "0x73776f"} {
				if strings.Contains(s, form) {
					t.Fatalf("%s prints %q", verb, s)
				}
			}
		}
	}
}
