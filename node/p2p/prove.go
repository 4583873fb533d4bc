package p2p

import (
	"crypto/rand"
	"io"
)

// proven is what a side knows once the gate is passed.
type proven struct {
	class  Class
	tag    [32]byte
	device [16]byte
}

// gatekeeper runs one side of the gate protocol over rw (spec 60 section 2). On
// every error the caller must reset the stream and close the connection.
type gatekeeper struct {
	rw     io.ReadWriter
	ends   ends // from us to the peer
	signer Signer
	a, b   nonce // the dialler's and the listener's
	mine   byte  // role bytes, as sent
	theirs byte
	key    Key
}

func (g *gatekeeper) asking() bool { return g.key.Class == CatchUp }
func (g *gatekeeper) asked() bool {
	return g.theirs == roleDiallerAsks || g.theirs == roleListenerAsks
}

// dial proves key to the listener.
func (g *gatekeeper) dial(key Key) (proven, error) {
	g.key, g.mine = key, roleDialler
	if g.asking() {
		g.mine = roleDiallerAsks
	}
	rand.Read(g.a[:])
	m := proof(key.Secret, g.mine, g.ends, g.a)
	if _, err := g.rw.Write(m[:]); err != nil {
		return proven{}, errGate
	}
	if _, err := io.ReadFull(g.rw, m[:]); err != nil {
		return proven{}, errGate
	}
	var ok bool
	if _, g.theirs, g.b, ok = match([]Key{key}, [2]byte{roleListener, roleListenerAsks}, g.ends.flip(), &m, g.a); !ok {
		return proven{}, errGate
	}
	p := g.outcome()
	if g.asked() {
		if err := g.sign(); err != nil {
			return proven{}, err
		}
	}
	return p, g.judge(&p)
}

// listen reads the dialler's proof and answers it. It calls turn once the proof
// is found good and waits for it. It calls admit as soon as the connection is
// proven: without signatures that is before the answer goes out, because the
// dialler may open streams as soon as it has read it.
func (g *gatekeeper) listen(keys []Key, turn func() error, admit func(proven) error) error {
	var m [gateSize]byte
	if _, err := io.ReadFull(g.rw, m[:]); err != nil {
		return errGate
	}
	var ok bool
	if g.key, g.theirs, g.a, ok = match(keys, [2]byte{roleDialler, roleDiallerAsks}, g.ends.flip(), &m); !ok {
		return errGate
	}
	g.mine = roleListener
	if g.asking() {
		g.mine = roleListenerAsks
	}
	if g.asked() && !g.canSign() {
		return errGate
	}
	if err := turn(); err != nil {
		return err
	}
	p := g.outcome()
	bare := !g.asking() && !g.asked()
	if bare {
		if err := admit(p); err != nil {
			return err
		}
	}
	rand.Read(g.b[:])
	m = proof(g.key.Secret, g.mine, g.ends, g.a, g.b)
	if _, err := g.rw.Write(m[:]); err != nil {
		return errGate
	}
	if bare {
		return nil
	}
	if err := g.judge(&p); err != nil {
		return err
	}
	if g.asked() {
		if err := g.sign(); err != nil {
			return err
		}
	}
	return admit(p)
}

func (g *gatekeeper) outcome() proven {
	p := proven{class: g.key.Class, tag: g.key.Tag}
	if g.asked() {
		p.class = CatchUp
	}
	return p
}

// canSign is false for an invite: who is only invited has no device yet.
func (g *gatekeeper) canSign() bool { return g.signer != nil && g.key.Class != Invite }

// sign sends M3.
func (g *gatekeeper) sign() error {
	if !g.canSign() {
		return errGate
	}
	device, sig, ok := g.signer.SignGate(transcript(g.mine, g.ends, g.a, g.b))
	if !ok {
		return errGate
	}
	m := sealDevice(g.key.Secret, g.mine, g.a, g.b, device, sig)
	if _, err := g.rw.Write(m[:]); err != nil {
		return errGate
	}
	return nil
}

// judge reads the peer's M3 if we asked for it.
func (g *gatekeeper) judge(p *proven) error {
	if !g.asking() {
		return nil
	}
	var m [gateSize]byte
	if _, err := io.ReadFull(g.rw, m[:]); err != nil {
		return errGate
	}
	device, sig, err := openDevice(g.key.Secret, g.theirs, g.a, g.b, &m)
	if err != nil {
		return err
	}
	if g.key.Device != [16]byte{} && g.key.Device != device {
		return errGate
	}
	if g.signer == nil || !g.signer.AdmitGate(transcript(g.theirs, g.ends.flip(), g.a, g.b), device, sig) {
		return errGate
	}
	p.device = device
	return nil
}
