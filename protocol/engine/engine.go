// Package engine is the deterministic core of one group on one device. It joins
// key epochs, authority, notices and reconciliation: inputs and commands go in,
// one Ready comes out.
//
// Start with Create, Join or Load; then call Step for every input, or a command
// such as Post; then take Ready, carry it out in the order that its fields
// state, and call Advance. What is promised: no clock, no socket, no goroutine
// and no randomness but the reader given in Config, so that a run replays from
// its inputs (the key encapsulation of the standard library is the one
// exception, see the layering test); nothing leaves before it is durable;
// nothing from the network panics, and bad input changes nothing.
//
// An Engine is owned by one goroutine. After a failed commit it must be thrown
// away and loaded again: it is ahead of the disk. Spec 65 has the messages
// between peers.
//
// Who was away, or suspended, for longer than the others keep the last epoch that
// they had comes back by its rescue seed, and who was removed knocks for a month
// (spec 46). BUG: that takes an organiser's device that can be reached directly,
// and a Welcome must be collected within 90 days. BUG: a restored
// copy that writes before it hears of itself uses message keys twice, with another
// guard in the nonce each time (spec 35 section 6).
package engine

import (
	"fmt"
	"io"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/recon"
)

// Time is milliseconds since 1970, as the shell's clock tells it.
type Time int64

// Unix returns whole seconds since 1970.
func (t Time) Unix() int64 { return int64(t) / 1000 }

// Day returns the day number.
func (t Time) Day() protocol.Day { return protocol.DayOf(t.Unix()) }

// Seconds makes a span of time.
func Seconds(n int64) Time { return Time(n * 1000) }

// Config is what an engine needs from the shell.
type Config struct {
	Storage Storage   // of this group; read only
	Random  io.Reader // cryptographic randomness
	// Zone says whether an IANA time zone exists. The shell owns the zone data.
	Zone func(name string) bool
}

// Engine is one group on one device. The zero value is not usable.
type Engine struct {
	cfg  Config
	id   protocol.GroupID
	self self
	now  Time

	genesis []byte
	log     *group.Log
	ring    *group.KeyRing
	feed    *feed.State
	epochs  map[protocol.EpochID]*epochState
	byGen   []*epochState    // the same, in order of generation, then id; never changed in place
	sending protocol.EpochID // zero: none may be used now, messages wait
	lastOps protocol.EpochID // the newest that was ever sending: ops go under it

	mailboxes map[protocol.MailboxID]place // of every kept epoch and open invite
	held      envelopes
	items     map[protocol.ContentID]*item
	amended   map[protocol.ContentID]bool // notices of which amendments came
	late      map[protocol.ContentID]lateItem
	full      int // items that the feed had no room for
	authority authority
	chains    map[identity.DeviceID]*chain
	twice     map[identity.DeviceID]protocol.Day // that said two things, and the newest day of it
	waiting   map[protocol.EnvelopeID]int        // bytes of what is held and not yet judged
	drafts    []draft
	private   []kemKey
	invites   map[protocol.InviteID]*invite
	requests  map[requestID]*request
	rescue    map[protocol.MailboxID][][]byte // envelopes for joiners
	join      *joinState                      // not nil until the Welcome came
	addresses presence
	seeds     map[identity.DeviceID][]*seed // rescue seeds, ascending by counter
	seedsFor  seedWatch
	knock     knock
	revive    bool                            // somebody is back who was out
	unsentOf  map[protocol.EnvelopeID]untaken // what own envelopes carry that nobody took
	rescued   map[identity.DeviceID]rescued   // what was sealed for who came with a rescue key

	peers     map[Peer]*peer
	ferries   map[Peer]*ferryLink
	carriers  map[string]*carrier // by the peer ids of ferries
	wants     map[protocol.EnvelopeID]*want
	wantsDue  Time // none of them is due before; 0: none at all
	refused   map[protocol.EnvelopeID]bool
	sought    askedFor
	closed    map[protocol.EnvelopeID]entry // messages that never open here
	planned   plans
	repair    repair
	carrying  carrying
	rows      uint64 // version at which it was looked what to tell across
	left      uint64 // version at which watchLeftOut looked last
	bridged   uint64 // version at which bridgeGaps looked last
	pages     pages
	keyset    keyset
	rejects   rejections
	lineage   lineage
	version   uint64 // counts what the choice of the sending epoch depends on
	chosen    uint64
	senders   map[senderKey]bool // chains that this Ready must store
	shares    map[share]int      // bytes that a device's envelopes in an epoch took here
	charged   map[share]bool     // shares that this Ready must store
	strangers strangers

	waitingBytes int
	shredded     protocol.Day
	day          protocol.Day // whose mailboxes are open
	clock        clock
	feedDue      int64 // unix seconds at which what people see may change by itself; 0: never
	gateStale    bool
	frozen       bool // a copy of this device is or was in use: see Frozen
	active       activity
	risk         bool // whether the last erasing was at high risk
	rejudge      bool
	retry        bool
	ready        Ready
}

// self is who this device is in the group.
type self struct {
	member   identity.MemberKey
	device   identity.DeviceKey
	memberID identity.MemberID
	deviceID identity.DeviceID
	rescue   [32]byte // seed of the device's rescue mailbox
	name     string
	state    chainState
}

// ID returns the group's id; while joining, the id that the link names.
func (e *Engine) ID() protocol.GroupID { return e.id }

// Joined says whether this device has its Welcome.
func (e *Engine) Joined() bool { return e.join == nil }

// Step takes one input. An error says what was wrong with an input of the
// shell's own making; what peers send is never an error.
func (e *Engine) Step(now Time, in Input) error {
	e.now = now
	switch in := in.(type) {
	case PeerUp:
		e.peerUp(in)
	case FerryUp:
		e.ferryUp(in)
	case PeerDown:
		delete(e.ferries, in.Peer)
		e.peerDown(in.Peer)
	case Received:
		e.receive(in)
	case Hinted:
		e.hinted(in)
	case Addresses:
		e.addresses.own = in.List
	case Tick:
	default:
		return fmt.Errorf("engine: unknown input %T", in)
	}
	return e.settle()
}

// settle brings everything to rest after an input or a command: what became
// possible is done, what is due is done.
func (e *Engine) settle() error {
	if e.join != nil {
		if err := e.tendFerries(); err != nil {
			return err
		}
		return e.tickPeers()
	}
	for changed := true; changed; {
		changed = false
		for _, f := range []func() (bool, error){e.reviveKeys, e.openPending, e.acceptEpochs, e.bridgeGaps, e.wantPages, e.retryWaiting, e.watchDecisions, e.acknowledge, e.answerEvidence,
			e.chooseSending, e.watchLeftOut, e.rejectIfDue, e.tellRows, e.askIfStarved, e.askForLost, e.rekeyIfDue, e.issueIfDue, e.takeReBox, e.passOn, e.reboxIfDue, e.carryIfDue, e.tendSeeds, e.resend, e.flushDrafts} {
			did, err := f()
			if err != nil {
				return err
			}
			changed = changed || did
		}
	}
	e.tickKnock()
	e.tellAuthority()
	if err := e.judgeItems(); err != nil {
		return err
	}
	if err := e.tellPresence(); err != nil {
		return err
	}
	if err := e.tickKeys(); err != nil {
		return err
	}
	if err := e.tickExpiry(); err != nil {
		return err
	}
	if err := e.tendFerries(); err != nil {
		return err
	}
	return e.tickPeers()
}

// Ready returns what is to be done, in the order of its fields. It is empty
// when nothing is. The caller must not keep its slices after Advance.
func (e *Engine) Ready() *Ready {
	e.storeSenders()
	e.storeShares()
	if e.gateStale {
		e.gateStale = false
		e.ready.Gate = e.gate()
	}
	e.ready.Wake = e.wake()
	return &e.ready
}

// Advance says that the last Ready was carried out.
func (e *Engine) Advance() { e.ready = Ready{} }

func (e *Engine) put(t Table, key, value []byte, shred protocol.Day) {
	e.ready.Persist.Puts = append(e.ready.Persist.Puts, Record{Table: t, Key: key, Value: value, Shred: shred})
}

func (e *Engine) erase(t Table, key []byte) {
	e.ready.Persist.erase(t, key)
}

func (e *Engine) deliver(ev Event) { e.ready.Deliver = append(e.ready.Deliver, ev) }

// epochState is what is kept of one epoch.
type epochState struct {
	header   *epoch.Header
	frame    []byte      // the encoded header frame
	keys     *epoch.Keys // nil: not opened, or erased
	erased   bool
	healed   bool         // this device has asked for the next epoch
	asked    uint32       // 1 + generation of the newest under which it asked for what it cannot open of this one
	tried    uint64       // own KEM keys with a lower counter were tried on it
	openTo   protocol.Day // mailboxes up to this day are known
	audited  uint64       // version at which it was last found not exact
	stored   int          // senders whose puncture is on disk
	accepted bool
	exact    bool
	fault    group.Rejection // what the last audit of its pages found
	sure     bool
	lookAt   Time   // when it is audited again; 0: it was not
	weighed  uint64 // 1 above the version at which author was found
	author   bool   // an author's epoch that counts
	paged    bool   // the addresses of its pages are known
	allPages bool   // all of them are asked for
	covered  Time   // when a covering child was accepted; 0: none
	arrived  Time
	recon    recon.Set // of its envelopes
	closed   recon.Set // of those that are known and not held
	tag      [16]byte
}
