package engine

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Limits of inviting.
const (
	defaultInviteSeconds = 72 * 3600
	maxInviteSeconds     = 30 * protocol.DaySeconds
	autoApproveSeconds   = 3600 // an invite approves by itself for this long at most
	maxUses              = 1_000
	maxInvites           = 64
	maxRequests          = 256
	maxRequestsOfLink    = 192 // and 32 more than its uses
	roomOfLink           = 4   // requests that each link has room for, however many came by others
	welcomeDays          = 90  // a Welcome waits for its joiner so long
)

// Errors of inviting that a caller branches on.
var (
	ErrNotOrganiser = errors.New("only organisers can do this")
	ErrUnknown      = errors.New("nothing has this id")
	ErrAmbiguous    = errors.New("more than one thing has an id that starts so")
	ErrPrefix       = errors.New("an id is shortened to 6 digits at least")
	ErrOutOfBounds  = errors.New("a number is out of bounds")
	ErrTooMany      = errors.New("too many of these are open")
	ErrNotJoined    = errors.New("this device is not in the group yet")
	ErrNotMember    = errors.New("this person is not in the group any more")
	ErrGroupFull    = errors.New("the group has as many people as it can have")
	ErrNoAddresses  = errors.New("there is no address to put into an invite")
)

// minPrefix is how many digits of an id are enough.
const minPrefix = 6

type requestID [32]byte

// invite is an invitation of this device's making.
type invite struct {
	_       struct{} `cbor:",toarray"`
	Link    []byte   // encoded protocol.Link
	Card    [32]byte // seed of the card key
	Join    [32]byte // seed of the key that requests are sealed to
	Auto    bool
	Created int64
	Used    uint16
	Seen    uint16 // requests that came
}

// request is somebody who asks to join.
type request struct {
	_          struct{} `cbor:",toarray"`
	Invite     protocol.InviteID
	KeyPackage []byte // frame
	Name       string
	Rescue     [32]byte
	Created    int64
}

// InviteParams says what an invitation allows.
type InviteParams struct {
	Uses        int   // 0: one
	Seconds     int64 // until it expires; 0: 72 hours
	AutoApprove bool
	Addresses   []string // where this device can be dialled
}

// Invite makes an invitation. Only organisers can.
func (e *Engine) Invite(now Time, p InviteParams) (protocol.Link, error) {
	e.now = now
	if err := e.asOrganiser(); err != nil {
		return protocol.Link{}, err
	}
	if p.Uses == 0 {
		p.Uses = 1
	}
	if p.Seconds == 0 {
		p.Seconds = defaultInviteSeconds
	}
	if p.Uses < 1 || p.Uses > maxUses || p.Seconds < 1 || p.Seconds > maxInviteSeconds {
		return protocol.Link{}, ErrOutOfBounds
	}
	ferries := e.Ferries()
	if len(p.Addresses)+len(ferries) == 0 {
		return protocol.Link{}, ErrNoAddresses
	}
	e.dropExpiredInvites()
	if e.openInvites() >= maxInvites {
		return protocol.Link{}, ErrTooMany
	}
	v := &invite{Auto: p.AutoApprove, Created: now.Unix()}
	l := protocol.Link{Version: protocol.Version, Group: e.id, Inviter: e.self.member.Public().Ref(),
		Expires: now.Unix() + p.Seconds, Uses: uint16(p.Uses), Addresses: p.Addresses[:min(len(p.Addresses), protocol.MaxLinkAddresses)],
		Ferries: ferries[:min(len(ferries), protocol.MaxLinkFerries)]}
	for _, b := range [][]byte{v.Card[:], v.Join[:], l.Secret[:]} {
		if _, err := io.ReadFull(e.cfg.Random, b); err != nil {
			return protocol.Link{}, err
		}
	}
	l.Card = epoch.MailKeyFromSeed(v.Card).Public()
	v.Link = wire.Marshal(l)
	e.putInvite(l.ID(), v)
	e.gateStale = true
	return l, e.settle()
}

func (e *Engine) asOrganiser() error {
	if e.join != nil {
		return ErrNotJoined
	}
	m, ok := e.log.Resolve().Member(e.self.memberID)
	if !ok {
		return ErrNotMember
	}
	switch {
	case m.Role != group.Organiser:
		return ErrNotOrganiser
	case m.Suspended:
		return ErrStopped
	case !e.operates():
		return ErrNoVoice
	}
	return nil
}

func (v *invite) link() protocol.Link {
	var l protocol.Link
	if err := wire.Unmarshal(v.Link, protocol.MaxLink, &l); err != nil {
		panic("engine: an own invite does not parse")
	}
	return l
}

func (e *Engine) putInvite(id protocol.InviteID, v *invite) {
	e.invites[id] = v
	e.put(tableInvites, id[:], wire.Marshal(v), protocol.DayOf(v.link().Expires)+welcomeDays)
}

// dropExpiredInvites forgets invites that nobody comes back for.
func (e *Engine) dropExpiredInvites() {
	for _, id := range e.sortedInvites() {
		if e.invites[id].link().Expires <= e.now.Unix() && !e.stillServes(id) {
			delete(e.invites, id)
			e.erase(tableInvites, id[:])
			e.gateStale = true
		}
	}
}

// stillServes says whether an invite that may have expired is still needed: for
// an open request, or for somebody who was let in and comes for the Welcome.
func (e *Engine) stillServes(id protocol.InviteID) bool {
	v := e.invites[id]
	return e.hasRequests(id) || v.Used > 0 && e.now.Day() < protocol.DayOf(v.link().Expires)+welcomeDays
}

// openInvites counts the invites that have not expired.
func (e *Engine) openInvites() int {
	n := 0
	for _, v := range e.invites {
		if v.link().Expires > e.now.Unix() {
			n++
		}
	}
	return n
}

// sortedInvites lists the invites that can be used longest first, so that those
// find room at the gate.
func (e *Engine) sortedInvites() []protocol.InviteID {
	expires := map[protocol.InviteID]int64{}
	for id, v := range e.invites {
		expires[id] = v.link().Expires
	}
	return slices.SortedFunc(maps.Keys(expires), func(a, b protocol.InviteID) int {
		return cmp.Or(cmp.Compare(expires[b], expires[a]), bytes.Compare(a[:], b[:]))
	})
}

// dropExpiredRequests forgets requests whose key package cannot be used any more.
func (e *Engine) dropExpiredRequests() {
	for id, r := range e.requests {
		if _, kp := e.requestKey(r); kp.Expires <= e.now.Unix() {
			delete(e.requests, id) // the row goes with its day
		}
	}
}

func (e *Engine) hasRequests(id protocol.InviteID) bool {
	for _, r := range e.requests {
		if r.Invite == id {
			return true
		}
	}
	return false
}

// cardEnvelope returns the card in the mailbox, sealed for whoever holds the
// link, or nil if the mailbox is no open invite's.
func (e *Engine) cardEnvelope(id protocol.MailboxID) []byte {
	for inviteID, v := range e.invites {
		l := v.link()
		if epoch.CardMailbox(epoch.RendezvousOf(l.Secret, inviteID), l.Card).Address() == id {
			return e.sealCard(inviteID, v)
		}
	}
	return nil
}

// sealCard seals the card of an invite, or returns nil where that cannot be.
func (e *Engine) sealCard(id protocol.InviteID, v *invite) []byte {
	l := v.link()
	frame, err := epoch.SealCard(e.id, epoch.MailKeyFromSeed(v.Card),
		epoch.Card{JoinKey: epoch.KEMPrivateFromSeed(v.Join).Public(), Addresses: l.Addresses})
	if err != nil {
		return nil
	}
	envelope, err := epoch.CardMailbox(epoch.RendezvousOf(l.Secret, id), l.Card).Seal(frame.Marshal())
	if err != nil {
		return nil
	}
	return envelope
}

// onRequestEnvelope takes a join request from an invite's connection.
func (e *Engine) onRequestEnvelope(p *peer, envelope []byte) bool {
	inviteID := protocol.InviteID(p.tag[:16])
	v := e.invites[inviteID]
	if v == nil {
		return false
	}
	return e.requestAt(p, inviteID, v, envelope)
}

// requestAt takes a join request from whoever brought it; a nil p is a ferry.
func (e *Engine) requestAt(p *peer, id protocol.InviteID, v *invite, envelope []byte) bool {
	l := v.link()
	root := epoch.RendezvousOf(l.Secret, id)
	f, err := open(epoch.RequestMailbox(root, l.Card), envelope)
	if err != nil {
		return false
	}
	r, err := epoch.OpenRequest(e.id, id, epoch.KEMPrivateFromSeed(v.Join), root, f)
	if err != nil {
		return false
	}
	return e.takeRequest(p, id, v, r)
}

func (e *Engine) takeRequest(p *peer, id protocol.InviteID, v *invite, r epoch.JoinRequest) bool {
	f, err := protocol.ParseFrame(r.KeyPackage)
	if err != nil {
		return false
	}
	kp, err := group.ParseKeyPackage(e.id, f)
	if err != nil || kp.Invite != id || kp.Inviter != e.self.member.Public().Ref() || kp.Expires < e.now.Unix() ||
		kp.Expires > e.now.Unix()+(keyPackageDays+1)*protocol.DaySeconds { // it would lie here for ever
		return false
	}
	if feed.CheckName(r.Name) != nil {
		return false
	}
	rid := requestID(f.ID(e.id))
	rescue := epoch.RescueMailbox(r.Rescue).Address()
	if _, waits := e.rescue[rescue]; waits || e.requests[rid] != nil {
		return true // asked again: the answer is in the mailbox, or a person still decides
	}
	if _, in := e.log.Resolve().Member(kp.Cert.Member.ID()); in {
		return true
	}
	if v.link().Expires <= e.now.Unix() {
		return false
	}
	// Whoever asks has the link, and is no stranger: where it is full of others'
	// requests, or used up, the person has to ask for another one.
	if v.Used >= v.link().Uses || !e.requestFits(id, v) {
		if p != nil {
			e.send(p, msgUsed, nil)
		}
		return true
	}
	v.Seen++
	req := &request{Invite: id, KeyPackage: r.KeyPackage, Name: r.Name, Rescue: r.Rescue.Seed(), Created: e.now.Unix()}
	e.requests[rid] = req
	e.put(tableRequests, rid[:], wire.Marshal(req), protocol.DayOf(kp.Expires)+1)
	e.putInvite(id, v)
	// More requests than uses: somebody else has the link. None is approved
	// without a person any more.
	if v.Auto && v.Seen <= v.link().Uses && v.Used < v.link().Uses && e.now.Unix() < v.Created+autoApproveSeconds {
		if e.approve(rid) == nil {
			return true
		}
	}
	e.deliver(Event{Kind: EventRequest, ID: hex.EncodeToString(rid[:])})
	return true
}

// requestFits says whether one request more by a link is kept. One link takes no
// room from another: some is kept free for each.
func (e *Engine) requestFits(id protocol.InviteID, v *invite) bool {
	n := e.requestsOf(id)
	return n < min(maxRequestsOfLink, int(v.link().Uses)+32) && (n < roomOfLink || len(e.requests) < maxRequests)
}

// closeLinks lets the links of before let nobody in by themselves any more: whoever
// is out may know each of them, and would come back under another name.
func (e *Engine) closeLinks() {
	for _, id := range e.sortedInvites() {
		if v := e.invites[id]; v.Auto {
			v.Auto = false
			e.putInvite(id, v)
		}
	}
}

// requestsOf counts the open requests by one link.
func (e *Engine) requestsOf(id protocol.InviteID) (n int) {
	for _, r := range e.requests {
		if r.Invite == id {
			n++
		}
	}
	return n
}

// RequestView is a request to join as a person decides on it.
type RequestView struct {
	ID      string
	Name    string
	Words   [identity.WordCount]string
	Created int64
	Expired bool // the invite has expired or is used up meanwhile
}

// Requests lists the open requests, oldest first.
func (e *Engine) Requests() []RequestView {
	var list []RequestView
	for id, r := range e.requests {
		_, kp := e.requestKey(r)
		v := e.invites[r.Invite]
		list = append(list, RequestView{ID: hex.EncodeToString(id[:]), Name: r.Name,
			Words: identity.SafetyWords(e.id, kp.Cert.Member), Created: r.Created,
			Expired: v == nil || v.Used >= v.link().Uses || v.link().Expires <= e.now.Unix()})
	}
	slices.SortFunc(list, func(a, b RequestView) int {
		if a.Created != b.Created {
			return int(a.Created - b.Created)
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

func (e *Engine) requestKey(r *request) (protocol.Frame, group.KeyPackage) {
	f, err := protocol.ParseFrame(r.KeyPackage)
	if err != nil {
		panic("engine: a stored request does not parse")
	}
	kp, err := group.ParseKeyPackage(e.id, f)
	if err != nil {
		panic("engine: a stored request does not parse")
	}
	return f, kp
}

// Approve lets somebody in who asked: by the request's id, or a prefix of at
// least 6 characters of it.
func (e *Engine) Approve(now Time, id string) error {
	e.now = now
	if err := e.asOrganiser(); err != nil {
		return err
	}
	rid, err := e.findRequest(id)
	if err != nil {
		return err
	}
	if err := e.approve(rid); err != nil {
		return err
	}
	return e.settle()
}

func (e *Engine) findRequest(prefix string) (requestID, error) {
	var found []requestID
	if len(prefix) < minPrefix {
		return requestID{}, ErrPrefix
	}
	for id := range e.requests {
		if strings.HasPrefix(hex.EncodeToString(id[:]), strings.ToLower(prefix)) {
			found = append(found, id)
		}
	}
	switch len(found) {
	case 0:
		return requestID{}, ErrUnknown
	case 1:
		return found[0], nil
	}
	return requestID{}, ErrAmbiguous
}
