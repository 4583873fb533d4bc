package group

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// authority is what the two lowest strata say: the decisions of quorums, and
// which suspensions remain. The rules above ask it whether an operation stands.
type authority struct {
	quorum
	log        *Log
	expels     map[identity.MemberID][]int // effective, in the order of the chain
	reinstates map[identity.MemberID][]int
	repudiated map[protocol.ItemID]bool
	remaining  map[identity.MemberID][]suspension // by target
}

// suspension is a Suspend that counts.
type suspension struct {
	at     int
	lifted bool // ever
}

// deed is an operation or an epoch as these rules see it.
type deed struct {
	id     protocol.ItemID
	member identity.MemberID
	device identity.DeviceID
	saw    func(op int) bool // op is in the deed's past
	seenBy func(op int) bool // the deed is in the past of op
}

func (l *Log) deed(i int) deed {
	n := &l.nodes[i]
	return deed{
		id: protocol.ItemID(n.id), member: n.op.Member, device: n.frame.Device,
		saw: n.past.has, seenBy: func(op int) bool { return l.nodes[op].past.has(i) },
	}
}

func (l *Log) authority(view set) *authority {
	a := &authority{
		quorum: l.quorum(view), log: l,
		expels: map[identity.MemberID][]int{}, reinstates: map[identity.MemberID][]int{},
		repudiated: map[protocol.ItemID]bool{}, remaining: map[identity.MemberID][]suspension{},
	}
	for _, d := range a.chain {
		switch p := d.decision.(type) {
		case Expel:
			a.expels[p.Target] = append(a.expels[p.Target], d.at)
			for _, id := range p.Repudiate {
				a.repudiated[id] = true
			}
		case Reinstate:
			a.reinstates[p.Target] = append(a.reinstates[p.Target], d.at)
		}
	}
	a.suspend(view)
	return a
}

// organises says whether the member is an organiser now.
func (a *authority) organises(m identity.MemberID) bool {
	_, ok := a.organisers[m]
	return ok
}

// suspended says whether the organiser is suspended now.
func (a *authority) suspended(m identity.MemberID) bool {
	return a.organises(m) && slices.ContainsFunc(a.remaining[m], func(s suspension) bool { return !s.lifted })
}

// operates says whether the device is an operating device of an organiser now.
func (a *authority) operates(m identity.MemberID, d identity.DeviceID) bool {
	return slices.Contains(a.organisers[m], d)
}

// stands is the base test (spec 40 section 6.2): whether the deed was done by an
// organiser's operating device as far as quorums decide, suspensions left out.
func (a *authority) stands(o deed) bool {
	return !a.repudiated[o.id] && a.organised(o.member, o.saw) && !a.expelled(o) && a.operated(o)
}

// organised says whether the member is a founder, or was granted in what was seen.
func (a *authority) organised(m identity.MemberID, saw func(int) bool) bool {
	if _, ok := a.log.first[m]; ok {
		return true
	}
	return slices.ContainsFunc(a.chain, func(d decided) bool {
		g, ok := d.decision.(GrantOrganiser)
		return ok && g.Target == m && saw(d.at)
	})
}

// expelled says whether an expulsion had not seen the deed, without a later
// grant that the deed had seen.
func (a *authority) expelled(o deed) bool {
	for _, e := range a.expels[o.member] {
		if o.seenBy(e) {
			continue
		}
		regranted := slices.ContainsFunc(a.chain, func(d decided) bool {
			g, ok := d.decision.(GrantOrganiser)
			return ok && g.Target == o.member && a.log.nodes[d.at].past.has(e) && o.saw(d.at)
		})
		if !regranted {
			return true
		}
	}
	return false
}

// operated says whether the device was an operating one by the decisions that
// the deed had seen, and none took it away unseen.
func (a *authority) operated(o deed) bool {
	var devices []identity.DeviceID
	if f, ok := a.log.first[o.member]; ok {
		devices = f.Devices
	}
	gone := false
	for _, d := range a.chain {
		var listed []identity.DeviceID
		switch p := d.decision.(type) {
		case GrantOrganiser:
			if p.Target != o.member {
				continue
			}
			listed = p.Devices
		case SetDevices:
			if p.Target != o.member {
				continue
			}
			listed = p.Devices
		default:
			continue
		}
		switch {
		case o.saw(d.at):
			devices = listed
			gone = gone && !slices.Contains(listed, o.device)
		case slices.Contains(d.dropped, o.device) && !o.seenBy(d.at):
			gone = true
		}
	}
	return !gone && slices.Contains(devices, o.device)
}

// valid says whether a deed of one organiser has its effect: it stands, and no
// suspension that remains stops it (spec 40 section 6.4).
func (a *authority) valid(o deed) bool { return a.stands(o) && !a.stopped(o) }

// stopped says whether a suspension of the deed's author had not seen it, and
// was not lifted for it.
func (a *authority) stopped(o deed) bool {
	return slices.ContainsFunc(a.remaining[o.member], func(s suspension) bool {
		return !o.seenBy(s.at) && !a.liftedFor(s.at, o)
	})
}

// liftedFor says whether a Reinstate that had seen the suspension had also seen
// the deed, or was seen by it.
func (a *authority) liftedFor(s int, o deed) bool {
	target := a.log.nodes[s].payload.(Suspend).Target
	return slices.ContainsFunc(a.reinstates[target], func(r int) bool {
		return a.log.nodes[r].past.has(s) && (o.seenBy(r) || o.saw(r))
	})
}

func (a *authority) everLifted(s int) bool {
	target := a.log.nodes[s].payload.(Suspend).Target
	return slices.ContainsFunc(a.reinstates[target], func(r int) bool { return a.log.nodes[r].past.has(s) })
}
