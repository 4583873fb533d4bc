package enginetest

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// A robber has all rows of a phone and every envelope that any link ever carried.
// It takes each byte string of 32 bytes that lies anywhere in the rows for a key
// of each kind, and goes on with what that opens until nothing new opens.
type robber struct {
	w       *World
	group   protocol.GroupID
	sealed  map[protocol.EnvelopeID][]byte // recorded, or in the rows
	byBox   map[protocol.MailboxID][][]byte
	keys    map[protocol.EpochID][]*epoch.Keys
	headers map[protocol.EpochID]*epoch.Header
	seeds   map[[32]byte]bool
	frames  map[protocol.ItemID]protocol.Frame
	from    map[protocol.EnvelopeID]protocol.Frame // opened
	tried   map[[64]byte]bool
	days    []protocol.Day
	strays  map[string]bool
}

// haul is what a robber got.
type haul struct {
	shown    map[string]bool // titles whose signed original lies in the rows
	read     map[string]bool // titles that were opened from the traffic
	nets     map[uint32]bool // generations whose net key is held
	orgs     map[uint32]bool // generations whose organisers' secret, and with it the inbox, is held
	presence map[string]bool // names of nodes whose addresses lie in the rows
	heard    map[string]bool // the same, from rows or traffic
	strays   map[string]bool // keys that lie where none belongs
}

// wiretap keeps every envelope that a link carries.
type wiretap struct {
	sealed map[protocol.EnvelopeID][]byte
}

func (r *wiretap) note(data []byte) {
	if len(data) > 1 && data[0] == messageGive {
		r.sealed[protocol.IDOf(data[1:])] = bytes.Clone(data[1:])
	}
}

// robbed attacks the rows of a phone.
func robbed(t *testing.T, w *World, id protocol.GroupID, m *Memory, r *wiretap) haul {
	t.Helper()
	th := &robber{w: w, group: id, sealed: maps.Clone(r.sealed), byBox: map[protocol.MailboxID][][]byte{},
		keys: map[protocol.EpochID][]*epoch.Keys{}, headers: map[protocol.EpochID]*epoch.Header{}, seeds: map[[32]byte]bool{},
		frames: map[protocol.ItemID]protocol.Frame{}, from: map[protocol.EnvelopeID]protocol.Frame{}, tried: map[[64]byte]bool{},
		strays: map[string]bool{}}
	l := haul{shown: map[string]bool{}, read: map[string]bool{}, nets: map[uint32]bool{}, orgs: map[uint32]bool{},
		presence: map[string]bool{}, heard: map[string]bool{}, strays: th.strays}
	for d := protocol.DayOf(1_790_000_000) - 3; d <= w.Now.Day()+3; d++ {
		th.days = append(th.days, d)
	}
	own := map[protocol.EnvelopeID]bool{}
	for table, rows := range m.rows {
		for _, r := range rows {
			if _, err := protocol.ParseEnvelope(r.value); err == nil {
				th.sealed[protocol.IDOf(r.value)] = r.value
				own[protocol.IDOf(r.value)] = true
			} else if table != rowsOfItems { // signed contents: read as such below
				th.strings(r.value)
			}
		}
	}
	for _, b := range th.sealed {
		env, err := protocol.ParseEnvelope(b)
		must(t, err)
		th.byBox[env.Mailbox] = append(th.byBox[env.Mailbox], b)
	}
	for _, r := range m.rows[tableOfSecrets] {
		k, err := epoch.ParseKeys(r.value)
		must(t, err)
		for key, c := range m.rows[tableOfChains] {
			if protocol.EpochID([]byte(key)[:32]) == k.Epoch() {
				must(t, k.AddChain(c.value))
			}
		}
		th.keys[k.Epoch()] = append(th.keys[k.Epoch()], k)
	}
	for key := range m.rows[tableOfChains] {
		if th.keys[protocol.EpochID([]byte(key)[:32])] == nil {
			th.strays["message keys of an epoch that is erased"] = true
		}
	}
	for th.round() {
	}
	for id, ks := range th.keys {
		h := th.headers[id]
		if h == nil {
			t.Fatal("keys of an epoch whose header is nowhere")
		}
		for _, k := range ks {
			l.nets[h.Core.Gen] = true
			if k.Organiser() {
				l.orgs[h.Core.Gen] = true
			}
		}
	}
	for _, rows := range m.rows {
		for _, r := range rows {
			o, c, err := protocol.ParseOriginal(r.value)
			if pub, ok := th.device(o.Device); err == nil && ok && o.Verify(id, pub) && titleOf(c) != "" {
				l.shown[titleOf(c)] = true
			}
		}
	}
	for _, f := range th.frames {
		if f.Kind != protocol.KindMessage {
			continue
		}
		for _, ks := range th.keys {
			for _, k := range ks {
				if o, err := k.Open(id, f, th.device); err == nil && titleOf(o.Content) != "" {
					l.read[titleOf(o.Content)] = true
				}
			}
		}
	}
	for eid, f := range th.from {
		if f.Kind != protocol.KindPresence {
			continue
		}
		for _, n := range w.nodes {
			if n.Store != nil && device(t, n).Public().ID() == f.Device {
				l.heard[n.Name] = true
				l.presence[n.Name] = l.presence[n.Name] || own[eid]
			}
		}
	}
	maps.DeleteFunc(l.presence, func(_ string, stored bool) bool { return !stored })
	return l
}

// titleOf is empty for what is no notice.
func titleOf(c protocol.Content) string {
	n, err := feed.DecodeNotice(c.Type, c.Payload)
	if err != nil {
		return ""
	}
	return n.Texts[0].Title
}

// device finds a device's key: the roster is known to whoever robs a member.
func (th *robber) device(d identity.DeviceID) (identity.DevicePublic, bool) {
	for _, n := range th.w.nodes {
		if n.Store == nil {
			continue
		}
		var r struct {
			_      struct{} `cbor:",toarray"`
			Member [32]byte
			Device [32]byte
			Rescue [32]byte
			Name   string
		}
		if wire.Unmarshal(n.Store.rows[tableOfMeta]["self"].value, 1024, &r) == nil {
			if pub := identity.DeviceKeyFromSeed(r.Device).Public(); pub.ID() == d {
				return pub, true
			}
		}
	}
	return identity.DevicePublic{}, false
}

// strings collects all byte strings of 32 bytes inside an encoding, and frames.
func (th *robber) strings(b []byte) {
	if f, err := protocol.ParseFrame(b); err == nil {
		th.frame(f)
		return // what it holds is public to the group
	}
	if len(b) == 32 {
		th.seeds[[32]byte(b)] = true
	}
	var v any
	if cbor.Unmarshal(b, &v) == nil {
		th.walk(v)
	}
}

func (th *robber) walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			th.walk(x)
		}
	case []byte:
		th.strings(v)
	}
}

func (th *robber) frame(f protocol.Frame) {
	th.frames[f.ID(th.group)] = f
	if f.Kind == protocol.KindEpoch {
		if h, err := epoch.ParseHeader(th.group, f); err == nil {
			th.headers[h.ID()] = h
		}
	}
}

// look opens all that lies in a mailbox.
func (th *robber) look(box *epoch.Mailbox) (found bool) {
	for _, b := range th.byBox[box.Address()] {
		eid := protocol.IDOf(b)
		if _, done := th.from[eid]; done {
			continue
		}
		plain, err := box.Open(b)
		if err != nil {
			continue
		}
		f, err := protocol.ParseFrame(plain)
		if err == nil {
			th.frame(f)
		}
		th.from[eid], found = f, true
	}
	return found
}

// secretKeys builds an epoch's keys from its secret (spec 30 section 3).
func secretKeys(id protocol.EpochID, s [32]byte) *epoch.Keys {
	net, sd := label.Derive(s[:], label.Net), label.Derive(s[:], label.SenderData)
	pad, confirm := label.Derive(s[:], label.Pad), label.Derive(s[:], label.Confirm)
	root := label.Derive(s[:], label.Encryption)
	k, err := epoch.ParseKeys(wire.Marshal([]any{protocol.Version, id[:], net[:], sd[:], pad[:], confirm[:], []byte{}, []byte{}, root[:]}))
	if err != nil {
		panic(err)
	}
	return k
}

// bare says that the seed is no net key that lies among an epoch's secrets.
func (th *robber) bare(s [32]byte) bool {
	for _, ks := range th.keys {
		for _, k := range ks {
			if k.Net().Seed() == s {
				return false
			}
		}
	}
	return true
}

// round tries everything with everything that is new. False: nothing opened.
func (th *robber) round() (more bool) {
	for id, ks := range th.keys {
		for _, k := range ks[:1] {
			for _, d := range th.days {
				more = th.look(epoch.CommonMailbox(k.Net(), d)) || more
			}
			if h := th.headers[id]; h != nil {
				for _, lane := range h.Core.Lanes {
					more = th.look(epoch.LaneMailbox(k.Net(), lane)) || more
				}
			}
		}
	}
	for s := range th.seeds {
		if at := [64]byte(append(s[:], make([]byte, 32)...)); !th.tried[at] {
			th.tried[at] = true
			more = th.look(epoch.RescueMailbox(epoch.RescueSeedFromBytes(s))) || more
			if th.bare(s) {
				for _, d := range th.days { // as a net key on its own
					if th.look(epoch.CommonMailbox(epoch.NetKeyFromBytes(s), d)) {
						th.strays["a net key"], more = true, true
					}
				}
			}
		}
		for id, h := range th.headers {
			at := [64]byte(append(s[:], id[:]...))
			if th.tried[at] {
				continue
			}
			th.tried[at] = true
			if k, err := h.Open(epoch.KEMPrivateFromSeed(s), false); err == nil {
				th.keys[id], more = append(th.keys[id], k), true
			}
			if k := secretKeys(id, s); h.Confirm(k) == nil {
				th.keys[id], more = append(th.keys[id], k), true
				th.strays["an epoch secret"] = true
			}
		}
	}
	return th.welcomes() || more
}

// welcomes opens what Welcomes there are.
func (th *robber) welcomes() (more bool) {
	var welcomes, chunks []protocol.Frame
	for _, f := range th.frames {
		switch f.Kind {
		case protocol.KindWelcome:
			welcomes = append(welcomes, f)
		case protocol.KindChunk:
			chunks = append(chunks, f)
		}
	}
	for _, f := range th.frames {
		kp, err := group.ParseKeyPackage(th.group, f)
		if err != nil || len(welcomes) == 0 {
			continue
		}
		hash := f.ID(th.group)
		for s := range th.seeds {
			for _, first := range welcomes {
				id := first.ID(th.group)
				at := [64]byte(append(s[:], id[:]...))
				if th.tried[at] || epoch.KEMPrivateFromSeed(s).Public() != kp.KEM {
					continue
				}
				set := []protocol.Frame{first}
				if n, _ := epoch.WelcomeChunks(first); n > 0 {
					set = append(set, slices.Clone(chunks)...)
				}
				w, err := epoch.OpenWelcome(th.group, set, epoch.KEMPrivateFromSeed(s), hash,
					func(d identity.DeviceID, _ *epoch.Welcome) (identity.DevicePublic, bool) { return th.device(d) })
				if err != nil {
					continue
				}
				th.tried[at], more = true, true
				for _, we := range w.Epochs {
					th.strings(we.Header)
					if k, err := epoch.ParseExport(we.Keys); err == nil {
						th.keys[k.Epoch()] = append(th.keys[k.Epoch()], k)
					}
				}
			}
		}
	}
	return more
}
