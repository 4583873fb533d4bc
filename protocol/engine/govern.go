package engine

import (
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// Errors of governing a group (spec 45 section 1).
var (
	ErrDecided      = errors.New("the organisers have decided otherwise meanwhile: that proposal is not open any more")
	ErrImpossible   = errors.New("that decision is not possible now")
	ErrSuspended    = errors.New("this organiser is suspended already")
	ErrOneSuspend   = errors.New("an organiser can hold only one other suspended")
	ErrGivenBack    = errors.New("the organisers gave this one back: it takes their votes now")
	ErrNotSuspended = errors.New("this organiser is not suspended")
	ErrNoOrganiser  = errors.New("this member does not organise")
	ErrSelf         = errors.New("nobody does this to themselves")
	ErrStopped      = errors.New("you are suspended: until the organisers decide you can vote, and nothing else")
	ErrNoVoice      = errors.New("this device does not vote for an organiser")
	ErrLeave        = errors.New("an organiser does not leave alone: the others must expel, or agree on another organiser first")
	ErrPaper        = errors.New("these are not the words of the group's paper")
	ErrPaperMayNot  = errors.New("the paper has no voice in that")
)

// plain gives what signing an operation refused in this package's errors.
func plain(err error) error {
	for _, x := range []struct{ is, say error }{
		{group.ErrNotAllowed, ErrNotOrganiser}, {group.ErrOrganiser, ErrOrganiser}, {group.ErrNotMember, ErrNoOrganiser},
		{group.ErrDecided, ErrDecided}, {group.ErrImpossible, ErrImpossible}, {group.ErrSuspended, ErrSuspended},
		{group.ErrOneSuspend, ErrOneSuspend}, {group.ErrGivenBack, ErrGivenBack}, {group.ErrGroupFull, ErrGroupFull},
	} {
		if errors.Is(err, x.is) {
			return x.say
		}
	}
	return err
}

// asMember says whether this device is one of a member's.
func (e *Engine) asMember() error {
	if e.join != nil {
		return ErrNotJoined
	}
	if m, ok := e.log.Resolve().MemberOfDevice(e.self.deviceID); !ok || m.ID != e.self.memberID {
		return ErrNotMember
	}
	return nil
}

// asVoter says whether this device votes for an organiser, suspended or not.
func (e *Engine) asVoter() error {
	if err := e.asMember(); err != nil {
		return err
	}
	m, _ := e.log.Resolve().Member(e.self.memberID)
	switch {
	case m.Role != group.Organiser:
		return ErrNotOrganiser
	case !e.operates():
		return ErrNoVoice
	}
	return nil
}

func (e *Engine) operates() bool {
	return e.log.Resolve().Operates(e.self.memberID, e.self.deviceID)
}

// organises says whether what this device signs alone, and its epochs, have
// authority now.
func (e *Engine) organises() bool {
	return e.join == nil && e.log.Resolve().IsOrganiser(e.self.deviceID)
}

// Suspend stops another organiser at once, until the organisers decide, and
// renews the group's keys without the target.
func (e *Engine) Suspend(now Time, member string) error {
	e.now = now
	if err := e.asOrganiser(); err != nil {
		return err
	}
	m, err := e.findMember(member)
	if err != nil {
		return err
	}
	if m.ID == e.self.memberID {
		return ErrSelf
	}
	return e.suspend(m, nil)
}

func (e *Engine) suspend(m group.Member, evidence [][]byte) error {
	if _, err := e.sign(group.Suspend{Target: m.ID, Cutoffs: e.cutoffs(m), Evidence: evidence}); err != nil {
		return plain(err)
	}
	e.planned.now = true
	return e.settle()
}

// cutoffs lists the last message seen of each device of a member, or of those
// given.
func (e *Engine) cutoffs(m group.Member, only ...identity.DeviceID) []group.Cutoff {
	var list []group.Cutoff
	for _, d := range slices.Concat(m.Devices, m.Former) {
		if len(only) > 0 && !slices.Contains(only, d.ID) {
			continue
		}
		if seq, id, ok := e.chains[d.ID].head(); ok && len(list) < group.MaxCutoffs {
			list = append(list, group.Cutoff{Device: d.ID, Seq: seq, Content: id})
		}
	}
	slices.SortFunc(list, func(a, b group.Cutoff) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	return list
}

// RemoveDevice takes one device out of the group, named by a prefix of its id:
// an own one, or as an organiser any that does not vote for an organiser.
func (e *Engine) RemoveDevice(now Time, device string) error {
	e.now = now
	if err := e.asMember(); err != nil {
		return err
	}
	d, err := e.findDevice(device, e.log.Resolve().Members())
	if err != nil {
		return err
	}
	cut := group.Cutoff{Device: d.ID}
	if seq, id, ok := e.chains[d.ID].head(); ok {
		cut.Seq, cut.Content = seq, id
	}
	if _, err := e.sign(group.RemoveDevice(cut)); err != nil {
		return plain(err)
	}
	e.planned.now = e.organises()
	return e.settle()
}

func (e *Engine) findDevice(prefix string, among []group.Member) (group.Device, error) {
	if len(prefix) < minPrefix {
		return group.Device{}, ErrPrefix
	}
	var found []group.Device
	for _, m := range among {
		for _, d := range m.Devices {
			if startsWith(d.ID[:], prefix) {
				found = append(found, d)
			}
		}
	}
	switch len(found) {
	case 0:
		return group.Device{}, ErrUnknown
	case 1:
		return found[0], nil
	}
	return group.Device{}, ErrAmbiguous
}

func startsWith(id []byte, prefix string) bool {
	return strings.HasPrefix(hex.EncodeToString(id), strings.ToLower(prefix))
}

// Leave says to the group that this member is no longer in it. The others renew
// their keys; what was written before is kept with the messages of the others.
func (e *Engine) Leave(now Time) error {
	e.now = now
	if err := e.asMember(); err != nil {
		return err
	}
	m, _ := e.log.Resolve().Member(e.self.memberID)
	if m.Role == group.Organiser {
		return ErrLeave
	}
	id, err := e.sign(group.Leave{Cutoffs: e.cutoffs(m)})
	if err != nil {
		return plain(err)
	}
	e.keepUnsent(protocol.ItemID(id))
	e.knock = knock{Out: int64(e.now), Left: true}
	e.putKnock()
	return e.settle()
}

// keepUnsent keeps the gate open to those to whom a departure is to be told,
// until somebody has it.
func (e *Engine) keepUnsent(item protocol.ItemID) {
	id, ok := e.held.byItem[itemKey{e.lastOps, [16]byte(item[:16]), false}]
	if !ok {
		return
	}
	e.notTaken(e.held.byID[id])
}

// partFor is how long a link must live on after a departure was given on it for
// that to be enough. Whoever takes it says so much sooner.
var partFor = Seconds(10)

// parting ends the telling of a departure once it is heard. Given is not heard: with
// the link, or with this phone, it can be lost on its way, and behind a closed
// gate nobody would ask for it again.
func (e *Engine) parting() {
	for _, p := range e.peers {
		if p.parted == 0 || e.now < p.parted+partFor {
			continue
		}
		p.parted = 0
		for _, id := range protocol.SortIDs(slices.Collect(maps.Keys(e.held.unsent))) {
			if n, ok := e.held.get(id); ok && n.kind == protocol.KindOp {
				e.taken(id)
			}
		}
	}
}

// leaving says whether this member has left, and nobody was told yet.
func (e *Engine) leaving() bool {
	for id := range e.held.unsent {
		if n, ok := e.held.get(id); ok && n.kind == protocol.KindOp {
			return true
		}
	}
	return false
}
