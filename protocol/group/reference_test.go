package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

// slow is the text of spec 40 section 6 said once more with plain sets: no
// index, no cache, no bitset, nothing shared with the resolver but the structs
// of the payloads. Limits are left out.
type slow struct {
	g    Genesis
	ops  map[protocol.OpID]Op
	dev  map[protocol.OpID]identity.DeviceID
	past map[protocol.OpID]map[protocol.OpID]bool
}

func newSlow(g Genesis, frames []protocol.Frame) *slow {
	s := &slow{g: g, ops: map[protocol.OpID]Op{}, dev: map[protocol.OpID]identity.DeviceID{}, past: map[protocol.OpID]map[protocol.OpID]bool{}}
	// Insert whatever can be, until nothing more can be.
	for again := true; again; {
		again = false
		for _, f := range frames {
			id := protocol.OpID(f.ID(g.ID()))
			if _, ok := s.ops[id]; ok {
				continue
			}
			var o Op
			if err := wire.Unmarshal(f.Body, 1<<16, &o); err != nil {
				panic(err)
			}
			past := map[protocol.OpID]bool{}
			ready := o.Seq == 1 || s.has(o.PrevOwn)
			for _, p := range o.Parents {
				ready = ready && s.has(p)
				past[p] = true
				for q := range s.past[p] {
					past[q] = true
				}
			}
			if ready && s.certifiedIn(past, o.Member, f.Device) {
				s.ops[id], s.dev[id], s.past[id] = o, f.Device, past
				again = true
			}
		}
	}
	return s
}

func (s *slow) has(id protocol.OpID) bool { _, ok := s.ops[id]; return ok }

func (s *slow) certifiedIn(past map[protocol.OpID]bool, m identity.MemberID, d identity.DeviceID) bool {
	for _, o := range s.g.Organisers {
		if o.Cert.Member.ID() == m && o.Cert.Device.ID() == d {
			return true
		}
	}
	for p := range past {
		if s.ops[p].Kind == KindAddMember {
			c := s.cert(p)
			if c.Member.ID() == m && c.Device.ID() == d {
				return true
			}
		}
	}
	return false
}

func (s *slow) cert(id protocol.OpID) identity.DeviceCert {
	var a AddMember
	if err := wire.Unmarshal(s.ops[id].Payload, 1<<16, &a); err != nil {
		panic(err)
	}
	var c identity.DeviceCert // its signatures are the log's business
	if err := wire.Unmarshal(a.Cert, identity.CertSize, &c); err != nil {
		panic(err)
	}
	return c
}

func get[T any](s *slow, id protocol.OpID) (v T) {
	if err := wire.Unmarshal(s.ops[id].Payload, 1<<16, &v); err != nil {
		panic(err)
	}
	return v
}

func (s *slow) organiser(m identity.MemberID) bool {
	return slices.ContainsFunc(s.g.Organisers, func(o Founding) bool { return o.Cert.Member.ID() == m })
}

func (s *slow) operating(m identity.MemberID, d identity.DeviceID) bool {
	return slices.ContainsFunc(s.g.Organisers, func(o Founding) bool {
		return o.Cert.Member.ID() == m && slices.Contains(o.Devices, d)
	})
}

// valid lists operations of one kind by an organiser's operating device.
func (s *slow) valid(k OpKind) (out []protocol.OpID) {
	for id, o := range s.ops {
		if o.Kind == k && s.operating(o.Member, s.dev[id]) {
			out = append(out, id)
		}
	}
	return out
}

func (s *slow) dump(devices []identity.DeviceID) string {
	conflict := func(a, b protocol.OpID) bool {
		x, y := s.cert(a), s.cert(b)
		return x.Device.ID() == y.Device.ID() && (x.Device != y.Device || x.Member != y.Member) ||
			x.Member.ID() == y.Member.ID() && x.Member != y.Member
	}
	adds := []protocol.OpID{}
	for _, a := range s.valid(KindAddMember) {
		void := slices.ContainsFunc(s.valid(KindAddMember), func(b protocol.OpID) bool { return conflict(a, b) })
		for _, o := range s.g.Organisers {
			void = void || o.Cert.Device.ID() == s.cert(a).Device.ID() && o.Cert.Member != s.cert(a).Member
		}
		if !void {
			adds = append(adds, a)
		}
	}
	owner := func(d identity.DeviceID) (identity.MemberID, bool) {
		for _, o := range s.g.Organisers {
			if o.Cert.Device.ID() == d {
				return o.Cert.Member.ID(), true
			}
		}
		for _, a := range adds {
			if s.cert(a).Device.ID() == d {
				return s.cert(a).Member.ID(), true
			}
		}
		return identity.MemberID{}, false
	}
	removesOf := func(m identity.MemberID) (out []protocol.OpID) {
		for _, r := range s.valid(KindRemoveMember) {
			if get[RemoveMember](s, r).Target == m && !s.organiser(m) {
				out = append(out, r)
			}
		}
		return out
	}
	seenAll := func(x protocol.OpID, list []protocol.OpID) bool {
		for _, r := range list {
			if !s.past[x][r] {
				return false
			}
		}
		return true
	}
	member := func(m identity.MemberID) bool {
		return s.organiser(m) || slices.ContainsFunc(adds, func(a protocol.OpID) bool {
			return s.cert(a).Member.ID() == m && seenAll(a, removesOf(m))
		})
	}
	byOrganiser := func(d identity.DeviceID) (out []protocol.OpID) {
		for _, r := range s.valid(KindRemoveDevice) {
			t := get[RemoveDevice](s, r).Device
			if m, _ := owner(t); t == d && !s.operating(m, d) {
				out = append(out, r)
			}
		}
		return out
	}
	dropsOf := func(d identity.DeviceID) []protocol.OpID {
		out := byOrganiser(d)
		for id, o := range s.ops {
			if o.Kind != KindRemoveDevice || get[RemoveDevice](s, id).Device != d || s.operating(o.Member, s.dev[id]) {
				continue
			}
			m, ok := owner(d)
			if !ok || m != o.Member || s.operating(m, d) || !member(m) {
				continue
			}
			added := s.organiser(m) && func() bool { w, _ := owner(s.dev[id]); return w == m && s.founding(s.dev[id]) }()
			for _, a := range adds {
				added = added || s.past[id][a] && s.cert(a).Device.ID() == s.dev[id] && s.cert(a).Member.ID() == m
			}
			for _, r := range append(removesOf(m), byOrganiser(s.dev[id])...) {
				answered := s.past[r][id]
				for _, a := range adds {
					answered = answered || s.past[id][a] && s.past[a][r] && s.cert(a).Device.ID() == s.dev[id]
				}
				added = added && answered
			}
			if added {
				out = append(out, id)
			}
		}
		return out
	}
	var lines []string
	people := map[identity.MemberID]bool{}
	for _, o := range s.g.Organisers {
		people[o.Cert.Member.ID()] = true
	}
	for _, a := range adds {
		people[s.cert(a).Member.ID()] = true
	}
	for m := range people {
		if !member(m) {
			continue
		}
		role := Reader
		for _, g := range s.valid(KindGrantAuthor) {
			if get[GrantAuthor](s, g).Target != m {
				continue
			}
			var revokes []protocol.OpID
			for _, r := range s.valid(KindRevokeAuthor) {
				if get[RevokeAuthor](s, r).Target == m {
					revokes = append(revokes, r)
				}
			}
			if seenAll(g, revokes) {
				role = Author
			}
		}
		if s.organiser(m) {
			role = Organiser
		}
		post := role == Organiser || s.g.Policy.Posting == PostAll || role == Author && s.g.Policy.Posting == PostAuthors
		line := fmt.Sprintf("%v %v %v:", m, role, post)
		var devs []string
		for _, d := range devices {
			in := s.operating(m, d) && s.founding(d)
			for _, a := range adds {
				c := s.cert(a)
				in = in || c.Member.ID() == m && c.Device.ID() == d && seenAll(a, removesOf(m)) && seenAll(a, dropsOf(d))
			}
			if in {
				devs = append(devs, d.String())
			}
		}
		slices.Sort(devs)
		for _, d := range devs {
			line += " " + d
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	removals := map[string]bool{}
	for _, r := range s.valid(KindRemoveMember) {
		if !s.organiser(get[RemoveMember](s, r).Target) {
			removals[r.String()] = true
		}
	}
	for id, o := range s.ops {
		if o.Kind == KindRemoveDevice && slices.Contains(dropsOf(get[RemoveDevice](s, id).Device), id) {
			removals[id.String()] = true
		}
	}
	var rem []string
	for r := range removals {
		rem = append(rem, "removal "+r)
	}
	slices.Sort(rem)
	lines = append(lines, rem...)
	for _, d := range devices {
		if c, ok := s.cut(d, owner, adds, removesOf, dropsOf); ok {
			lines = append(lines, fmt.Sprintf("cut %v %d %v", d, c.Seq, c.Content))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *slow) founding(d identity.DeviceID) bool {
	return slices.ContainsFunc(s.g.Organisers, func(o Founding) bool { return o.Cert.Device.ID() == d })
}

func (s *slow) cut(d identity.DeviceID, owner func(identity.DeviceID) (identity.MemberID, bool), adds []protocol.OpID,
	removesOf func(identity.MemberID) []protocol.OpID, dropsOf func(identity.DeviceID) []protocol.OpID) (Cutoff, bool) {
	m, ok := owner(d)
	if !ok {
		return Cutoff{}, false
	}
	var all []Cutoff
	readded := func(r protocol.OpID) bool {
		return slices.ContainsFunc(adds, func(a protocol.OpID) bool { return s.past[a][r] && s.cert(a).Device.ID() == d })
	}
	pick := func(list []Cutoff) Cutoff {
		for _, c := range list {
			if c.Device == d {
				return c
			}
		}
		return Cutoff{Device: d}
	}
	for _, r := range removesOf(m) {
		if !readded(r) {
			all = append(all, pick(get[RemoveMember](s, r).Cutoffs))
		}
	}
	for _, r := range dropsOf(d) {
		if !readded(r) {
			all = append(all, Cutoff(get[RemoveDevice](s, r)))
		}
	}
	if s.g.Policy.Posting == PostAuthors && !s.organiser(m) {
		for _, r := range s.valid(KindRevokeAuthor) {
			v := get[RevokeAuthor](s, r)
			regranted := slices.ContainsFunc(s.valid(KindGrantAuthor), func(g protocol.OpID) bool {
				return get[GrantAuthor](s, g).Target == m && s.past[g][r]
			})
			if v.Target == m && !regranted {
				all = append(all, pick(v.Cutoffs))
			}
		}
	}
	if len(all) == 0 {
		return Cutoff{}, false
	}
	return slices.MinFunc(all, func(a, b Cutoff) int {
		if a.Seq != b.Seq {
			return int(a.Seq) - int(b.Seq)
		}
		return slices.Compare(a.Content[:], b.Content[:])
	}), true
}
