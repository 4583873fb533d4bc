package engine

import (
	"errors"
	"io"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// keyPackageDays is how long a request to join can be answered.
const keyPackageDays = 90

// ErrLinkExpired says that the link can not be used any more.
var ErrLinkExpired = errors.New("the invite link has expired")

// joinState is a request to join that waits for its Welcome.
type joinState struct {
	link    protocol.Link
	pack    protocol.Frame
	kem     kemKey
	root    epoch.Rendezvous
	welcome map[protocol.ItemID]protocol.Frame
	asked   map[Peer]bool
	request []byte // envelope; nil before the card came
}

// joinRecord is its stored form.
type joinRecord struct {
	_       struct{} `cbor:",toarray"`
	Link    []byte
	Package []byte
}

// Join starts asking to be let in by a link, under a pseudonym of this group.
func Join(cfg Config, now Time, link protocol.Link, name string) (*Engine, error) {
	if err := feed.CheckName(name); err != nil {
		return nil, err
	}
	if link.Expires <= now.Unix() {
		return nil, ErrLinkExpired
	}
	e := newEngine(cfg, link.Group, now)
	if err := e.newSelf(name); err != nil {
		return nil, err
	}
	kem, err := newKEM(cfg.Random, 0)
	if err != nil {
		return nil, err
	}
	kp := group.KeyPackage{Cert: identity.Certify(e.id, e.self.member, e.self.device), Invite: link.ID(), Inviter: link.Inviter,
		KEM: kem.kem.Public(), Lane: kem.lane.Public(), Expires: now.Unix() + keyPackageDays*protocol.DaySeconds}
	if _, err := io.ReadFull(cfg.Random, kp.Nonce[:]); err != nil {
		return nil, err
	}
	f := group.NewKeyPackage(e.id, e.self.device, kp)
	kem.frame = f.ID(e.id)
	e.private = append(e.private, kem)
	e.putKEM(&kem)
	e.join = newJoinState(link, f, kem)
	e.put(tableMeta, keyJoin, wire.Marshal(joinRecord{Link: wire.Marshal(link), Package: f.Marshal()}), 0)
	e.gateStale = true
	return e, nil
}

func newJoinState(link protocol.Link, f protocol.Frame, kem kemKey) *joinState {
	return &joinState{link: link, pack: f, kem: kem, root: epoch.RendezvousOf(link.Secret, link.ID()),
		welcome: map[protocol.ItemID]protocol.Frame{}, asked: map[Peer]bool{}}
}

func (e *Engine) loadJoin(value []byte) error {
	var r joinRecord
	if err := wire.Unmarshal(value, MaxValueSize, &r); err != nil {
		return err
	}
	var link protocol.Link
	if err := wire.Unmarshal(r.Link, protocol.MaxLink, &link); err != nil {
		return err
	}
	f, err := protocol.ParseFrame(r.Package)
	if err != nil {
		return err
	}
	if len(e.private) == 0 {
		return errors.New("the key of a request to join is not stored")
	}
	e.join = newJoinState(link, f, e.private[0])
	return nil
}

func (e *Engine) rescueBox() *epoch.Mailbox {
	return epoch.RescueMailbox(epoch.RescueSeedFromBytes(e.self.rescue))
}

// joinPeerUp asks the inviter's device for the card, and for a Welcome that may
// be there already.
func (e *Engine) joinPeerUp(p *peer) {
	if p.class != ClassInvite {
		return
	}
	card := epoch.CardMailbox(e.join.root, e.join.link.Card)
	e.send(p, msgFetch, wire.Marshal([]protocol.MailboxID{card.Address(), e.rescueBox().Address()}))
}

// joinEnvelope takes the card, or a part of the Welcome.
func (e *Engine) joinEnvelope(p *peer, envelope []byte) {
	card := epoch.CardMailbox(e.join.root, e.join.link.Card)
	if plain, err := card.Open(envelope); err == nil {
		if e.takeCard(plain) && p != nil && !e.join.asked[p.id] {
			e.join.asked[p.id] = true
			e.send(p, msgGive, e.join.request)
		}
		return
	}
	plain, err := e.rescueBox().Open(envelope)
	if err != nil {
		return
	}
	f, err := protocol.ParseFrame(plain)
	if err != nil || len(e.join.welcome) > epoch.MaxChunks {
		return
	}
	e.join.welcome[f.ID(e.id)] = f
}

// takeCard makes the request once the card is there, the same for whoever carries it.
func (e *Engine) takeCard(plain []byte) bool {
	if e.join.request != nil {
		return true
	}
	f, err := protocol.ParseFrame(plain)
	if err != nil {
		return false
	}
	card, err := epoch.ParseCard(e.id, f, e.join.link.Card)
	if err != nil {
		return false
	}
	request, err := epoch.SealRequest(e.id, e.join.link.ID(), &card.JoinKey, e.join.root, epoch.JoinRequest{
		KeyPackage: e.join.pack.Marshal(), Name: e.self.name, Rescue: epoch.RescueSeedFromBytes(e.self.rescue)})
	if err != nil {
		return false
	}
	e.join.request, err = epoch.RequestMailbox(e.join.root, e.join.link.Card).Seal(request.Marshal())
	return err == nil
}

// joinMailboxEnd tries the Welcome once all of the rescue mailbox came.
func (e *Engine) joinMailboxEnd(p *peer, id protocol.MailboxID) {
	if id != e.rescueBox().Address() || len(e.join.welcome) == 0 {
		return
	}
	if e.enter() {
		e.ready.Close = append(e.ready.Close, p.id)
	}
}

// enter takes the Welcome. Nothing changes unless all of it holds.
func (e *Engine) enter() bool {
	frames := make([]protocol.Frame, 0, len(e.join.welcome))
	ids := make([]protocol.ItemID, 0, len(e.join.welcome))
	for id := range e.join.welcome {
		ids = append(ids, id)
	}
	for _, id := range protocol.SortIDs(ids) {
		frames = append(frames, e.join.welcome[id])
	}
	clear(e.join.welcome)
	hash := e.join.pack.ID(e.id)
	var log *group.Log
	w, err := epoch.OpenWelcome(e.id, frames, e.join.kem.kem, hash, func(d identity.DeviceID, w *epoch.Welcome) (identity.DevicePublic, bool) {
		var pub identity.DevicePublic
		var ok bool
		log, pub, ok = e.checkWelcome(d, w)
		return pub, ok
	})
	if err != nil {
		return false
	}
	return e.start(log, w) == nil
}

// checkWelcome rebuilds the authority of a Welcome and says whether its signer
// may welcome: the inviter that the link names, or an organiser's device, and
// with it whether this member is in.
func (e *Engine) checkWelcome(d identity.DeviceID, w *epoch.Welcome) (*group.Log, identity.DevicePublic, bool) {
	none := identity.DevicePublic{}
	genesis, err := group.ParseGenesis(w.Genesis)
	if err != nil || genesis.ID() != e.id {
		return nil, none, false
	}
	log := group.NewLog(genesis)
	for _, b := range w.Ops {
		f, err := protocol.ParseFrame(b)
		if err != nil {
			return nil, none, false
		}
		if _, err := log.Add(f); err != nil {
			return nil, none, false
		}
	}
	roster := log.Resolve()
	signer, ok := roster.MemberOfDevice(d)
	if !ok || !(signer.Role == group.Organiser || signer.Public.Ref() == e.join.link.Inviter) {
		return nil, none, false
	}
	me, ok := roster.Member(e.self.memberID)
	if !ok || me.Public != e.self.member.Public() || !log.Has(w.Added) {
		return nil, none, false
	}
	pub, ok := log.DeviceKey(d)
	return log, pub, ok
}

// start becomes a member by a Welcome that was checked.
func (e *Engine) start(log *group.Log, w *epoch.Welcome) error {
	type opened struct {
		header *epoch.Header
		frame  []byte
		keys   *epoch.Keys
	}
	var epochs []opened
	for _, we := range w.Epochs {
		f, err := protocol.ParseFrame(we.Header)
		if err != nil {
			return err
		}
		pub, ok := log.DeviceKey(f.Device)
		if !ok || !f.Verify(e.id, pub) {
			return epoch.ErrWelcome
		}
		h, err := epoch.ParseHeader(e.id, f)
		if err != nil {
			return err
		}
		keys, err := epoch.ParseExport(we.Keys)
		if err != nil {
			return err
		}
		if err := h.Confirm(keys); err != nil {
			return err
		}
		epochs = append(epochs, opened{h, we.Header, keys})
	}
	e.setLog(log, w.Genesis)
	for _, f := range log.Frames() {
		id := f.ID(e.id)
		e.put(tableOps, id[:], f.Marshal(), 0)
	}
	e.ring.Follow(log.Resolve())
	frames := []protocol.Frame{e.join.pack}
	for _, b := range w.KeyFrames {
		if f, err := protocol.ParseFrame(b); err == nil {
			frames = append(frames, f)
		}
	}
	e.ring.Restore(frames)
	for _, m := range log.Resolve().Members() {
		for _, d := range m.Devices {
			for _, f := range e.ring.Frames(d.ID) {
				id := f.ID(e.id)
				e.put(tableKeyFrames, id[:], f.Marshal(), 0)
			}
		}
	}
	e.join = nil
	e.erase(tableMeta, keyJoin)
	for _, o := range epochs {
		s := &epochState{header: o.header, frame: o.frame, accepted: true, exact: true, arrived: e.now}
		e.keepEpoch(s)
		e.adopt(s, o.keys)
		for _, d := range o.keys.Senders() {
			e.dirty(o.header.ID(), d)
		}
		e.putEpoch(s)
	}
	e.noteCovered()
	if kept := e.keptEpochs(); len(kept) > 0 {
		e.lastOps = kept[0].header.ID()
		e.put(tableMeta, keySending, e.lastOps[:], 0)
	}
	for _, c := range w.Chains {
		e.storeFirst(c.Device, c.Seq, c.Content)
	}
	for _, b := range w.Originals {
		e.takeOriginal(b)
	}
	// The key package's key opened the Welcome, and is not used again.
	e.usedKEM(0)
	e.deliver(Event{Kind: EventJoined, ID: e.id.String(), Own: true})
	e.gateStale, e.version = true, e.version+1
	if err := e.settle(); err != nil {
		return err
	}
	d, err := e.feed.NewProfile(e.self.memberID, e.self.name, e.now.Unix())
	if err != nil {
		return err
	}
	_, _, err = e.write(d)
	return err
}

// onUsed learns that the link lets nobody in any more. The request stays until
// the person gives it up: an organiser can still be asked for another link.
func (e *Engine) onUsed(p *peer) {
	if e.join != nil && p.class == ClassInvite {
		e.deliver(Event{Kind: EventUsedUp, ID: e.id.String(), Own: true})
	}
}

func (e *Engine) joinTick() {}

// LinkAddresses returns the addresses of the link that this device joins by; none
// once it has joined.
func (e *Engine) LinkAddresses() []string {
	if e.join == nil {
		return nil
	}
	return e.join.link.Addresses
}
