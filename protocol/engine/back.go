package engine

import (
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol/group"
)

// This file finds who is out and was in the group between the heads of an epoch and now:
// whoever is given back is handed the keys from while he was out, which neither boxes nor
// additions show (spec 46 section 9).

// outAgain lists who was given back between two times and is out at the later one.
func outAgain(then, now *group.Roster) (people []identity.MemberID) {
	before := then.Decisions()
	for _, d := range now.Decisions() {
		back, ok := d.Decision.(group.Reinstate)
		if !ok || slices.ContainsFunc(before, func(b group.Decided) bool { return b.ID == d.ID }) {
			continue
		}
		if m, in := now.Member(back.Target); !in || m.Suspended {
			people = append(people, back.Target)
		}
	}
	return people
}

// wasBack lists, sorted, who may have been handed an epoch so: by a decision that gave
// him back, or because an epoch that knew all that this one knew was for him.
func (e *Engine) wasBack(s *epochState) []identity.MemberID {
	then, ok := e.log.At(s.header.Core.GovHeads)
	now := e.log.Resolve()
	if !ok || then == now {
		return nil
	}
	people := outAgain(then, now)
	for x, out := range e.lines().outOf(e) {
		var back []identity.MemberID
		for _, d := range out {
			if _, had := slices.BinarySearchFunc(then.Boxed(), d, compareDevices); !had {
				back = append(back, e.ownerOf(d))
			}
		}
		if x == s || len(back) == 0 {
			continue
		}
		if more, err := e.log.Between(x.header.Core.GovHeads, s.header.Core.GovHeads); err == nil && len(more) == 0 {
			people = append(people, back...)
		}
	}
	return sortPeople(people)
}

// ownerOf is whose a device is or was, by its certificate.
func (e *Engine) ownerOf(d identity.DeviceID) identity.MemberID {
	if m, known := e.log.Resolve().MemberOfCert(d); known {
		return m
	}
	return identity.MemberID(d) // nobody's any more; still somebody who reads
}

// sortPeople sorts a list, and names each once.
func sortPeople(list []identity.MemberID) []identity.MemberID {
	slices.SortFunc(list, func(a, b identity.MemberID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(list)
}
