package feed

import (
	"bytes"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// MemberName is the name of a member in this group.
type MemberName struct {
	Member identity.MemberID
	Name   string
	// Alike are the other members whose names look the same, or are. A face
	// shows it, with the safety words that tell them apart.
	Alike []identity.MemberID
}

// better says whether e holds against o (spec 50 section 4).
func (e *entry) better(o *entry) bool {
	return o == nil || e.ver > o.ver || e.ver == o.ver && bytes.Compare(e.ID[:], o.ID[:]) < 0
}

func (s *State) profiles() map[identity.MemberID]*entry {
	best := map[identity.MemberID]*entry{}
	for _, e := range s.items {
		if e.Content.Type == protocol.TypeProfile && e.Standing == Normal && e.better(best[e.Author]) {
			best[e.Author] = e
		}
	}
	return best
}

func (s *State) card() *entry {
	var best *entry
	for _, e := range s.items {
		if e.Content.Type == protocol.TypeGroupCard && e.Standing == Normal && e.Organiser && e.better(best) {
			best = e
		}
	}
	return best
}

func (s *State) namesInForce() map[protocol.ContentID]bool {
	out := map[protocol.ContentID]bool{}
	for _, e := range s.profiles() {
		out[e.ID] = true
	}
	if c := s.card(); c != nil {
		out[c.ID] = true
	}
	return out
}

// GroupName returns the name of the group, and whether it has one.
func (s *State) GroupName() (string, bool) {
	if c := s.card(); c != nil {
		return c.name, true
	}
	return "", false
}

// Name returns the name of a member, and whether there is one.
func (s *State) Name(m identity.MemberID) (string, bool) {
	if e := s.profiles()[m]; e != nil {
		return e.name, true
	}
	return "", false
}

// Names returns the names of all who have one, by member id, with a warning on
// those that look alike. Who is a member is for the layer above to say.
func (s *State) Names() []MemberName {
	var out []MemberName
	for m, e := range s.profiles() {
		out = append(out, MemberName{Member: m, Name: e.name})
	}
	slices.SortFunc(out, func(a, b MemberName) int { return bytes.Compare(a.Member[:], b.Member[:]) })
	names := make([]string, len(out))
	for i, n := range out {
		names[i] = n.Name
	}
	for _, group := range Lookalikes(names) {
		for _, i := range group {
			for _, j := range group {
				if i != j {
					out[i].Alike = append(out[i].Alike, out[j].Member)
				}
			}
		}
	}
	return out
}

// Newest returns the ids of the contents that give the group and the members
// their names, ascending: what a Welcome carries whatever the history policy.
func (s *State) Newest() []protocol.ContentID {
	var ids []protocol.ContentID
	for id := range s.namesInForce() {
		ids = append(ids, id)
	}
	return protocol.SortIDs(ids)
}
