package engine

import (
	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/group"
)

// Status is how a group stands on this device.
type Status struct {
	ID      protocol.GroupID
	Name    string
	Joined  bool
	Removed bool
	Members int
	Epoch   uint32 // generation of the sending epoch, or of the last one
	Peers   int    // members connected
	Unsent  int    // own messages that nobody else holds yet
	Missing int    // messages known to exist and not held
	// AuthorityAlarm: a decision that had held for a week does not any more, and
	// nothing is sent until ConfirmAuthority.
	AuthorityAlarm bool
}

// Status returns how the group stands.
func (e *Engine) Status() Status {
	s := Status{ID: e.id, Joined: e.join == nil}
	if e.join != nil {
		return s
	}
	roster := e.log.Resolve()
	s.AuthorityAlarm = e.authority.alarm
	s.Name, _ = e.feed.GroupName()
	s.Members = len(roster.Members())
	s.Removed = !roster.IsMember(e.self.memberID)
	if last := e.epochs[e.lastOps]; last != nil {
		s.Epoch = last.header.Core.Gen
	}
	for _, p := range e.peers {
		if p.class == ClassMember {
			s.Peers++
		}
	}
	s.Unsent = len(e.held.unsent) + len(e.drafts)
	gaps := 0
	for d, c := range e.chains {
		gaps += c.missing(cutoff(roster, d))
	}
	// A message can be a gap and announced at once; it is counted once.
	s.Missing = max(len(e.wants), gaps)
	return s
}

// Waiting says that messages cannot be sent now: a removal is known and the keys
// are not renewed yet, or an alarm is to be confirmed. What is written is kept
// until then.
func (e *Engine) Waiting() bool {
	return e.join == nil && (e.sending == (protocol.EpochID{}) || e.authority.alarm)
}

// MemberView is one member as people see them.
type MemberView struct {
	ID    identity.MemberID
	Name  string // empty until the member's profile came
	Role  group.Role
	Words [identity.WordCount]string
	Alike []identity.MemberID // members with a name that looks the same
	Self  bool
	// Twice: a device of the member signed two things in one place. It was copied, or
	// is used to tell people different things.
	Twice bool
}

// Members lists the members in order of their ids.
func (e *Engine) Members() []MemberView {
	if e.join != nil {
		return nil
	}
	alike := map[identity.MemberID][]identity.MemberID{}
	for _, n := range e.feed.Names() {
		alike[n.Member] = n.Alike
	}
	twice := e.inTwoHands()
	var list []MemberView
	for _, m := range e.log.Resolve().Members() {
		name, _ := e.feed.Name(m.ID)
		list = append(list, MemberView{ID: m.ID, Name: name, Role: m.Role, Words: identity.SafetyWords(e.id, m.Public),
			Alike: alike[m.ID], Self: m.ID == e.self.memberID, Twice: twice[m.ID]})
	}
	return list
}

// MemberName returns the name of a member, also of one who was removed.
func (e *Engine) MemberName(id identity.MemberID) string {
	name, _ := e.feed.Name(id)
	return name
}

// policy returns the group's policy in force.
func (e *Engine) policy() group.Policy { return e.log.Resolve().Policy() }
