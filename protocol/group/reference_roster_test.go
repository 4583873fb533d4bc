package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// slowRoster is strata M and D.
type slowRoster struct {
	*slow
	fixed  map[identity.DeviceID]identity.DeviceCert // by Genesis and listing decisions
	adds   []protocol.OpID                           // valid AddMembers, not void
	claims []protocol.OpID                           // AddDevices, not void
	leaves []protocol.OpID                           // departures of devices that are present
	own    []protocol.OpID                           // own removals that act
	added  []protocol.OpID                           // valid AddDevices
}

func (s *slow) roster() *slowRoster {
	r := &slowRoster{slow: s, fixed: map[identity.DeviceID]identity.DeviceCert{}}
	for _, q := range s.chain {
		for m := range s.everyone() {
			for _, d := range s.lists(q, m) {
				r.fixed[d] = s.certs(s.past[q], d)[0]
			}
		}
	}
	for _, o := range s.g.Organisers {
		r.fixed[o.Cert.Device.ID()] = o.Cert
	}
	var all []protocol.OpID
	all = of[AddMember](s)
	for _, a := range all {
		if !r.contradictsFixed(s.ops[a].cert) && !slices.ContainsFunc(all, func(b protocol.OpID) bool {
			return r.clash(s.ops[a].cert, s.ops[b].cert)
		}) {
			r.adds = append(r.adds, a)
		}
	}
	var claims []protocol.OpID
	for id, o := range s.ops {
		if _, ok := o.what.(AddDevice); ok {
			claims = append(claims, id)
		}
	}
	for _, a := range claims {
		c := s.ops[a].cert
		void := false
		if f, ok := r.fixed[c.Device.ID()]; ok && (f.Device != c.Device || f.Member != c.Member) {
			void = true
		}
		for _, b := range slices.Concat(r.adds, claims) {
			x := s.ops[b].cert
			void = void || x.Device.ID() == c.Device.ID() && (x.Device != c.Device || x.Member != c.Member)
		}
		if !void {
			r.claims = append(r.claims, a)
		}
	}
	slices.SortFunc(r.claims, func(a, b protocol.OpID) int { return len(s.past[a]) - len(s.past[b]) })
	var leaves []protocol.OpID
	held := r.held()
	for id, o := range s.ops {
		if _, ok := o.what.(Leave); ok && !r.organiser(o.Member) && !s.repudiated(protocol.ItemID(id)) && r.present(id, held, r.dropsBy(o.dev)) {
			leaves = append(leaves, id)
		}
	}
	r.leaves = leaves
	held = r.held()
	for id, o := range s.ops {
		p, ok := o.what.(RemoveDevice)
		if ok && !r.operating(p.Device) && !s.valid(s.deedOf(id)) && r.member(o.Member) && r.mine(o.Member, p.Device) &&
			r.acts(id, held, r.dropsBy(o.dev)) {
			r.own = append(r.own, id)
		}
	}
	for _, a := range r.claims {
		o := s.ops[a]
		if r.member(o.Member) && r.acts(a, r.added, r.dropsOf(o.dev)) {
			r.added = append(r.added, a)
		}
	}
	return r
}

func (s *slow) everyone() map[identity.MemberID]bool {
	out := map[identity.MemberID]bool{}
	for _, o := range s.g.Organisers {
		out[o.Cert.Member.ID()] = true
	}
	for _, o := range s.ops {
		switch o.what.(type) {
		case AddMember, AddDevice:
			out[o.cert.Member.ID()] = true
		}
	}
	return out
}

func (r *slowRoster) contradictsFixed(c identity.DeviceCert) bool {
	for d, f := range r.fixed {
		if d == c.Device.ID() && (f.Device != c.Device || f.Member != c.Member) || f.Member.ID() == c.Member.ID() && f.Member != c.Member {
			return true
		}
	}
	return false
}

// clash: a is void because of b, unless what is fixed decides.
func (r *slowRoster) clash(a, b identity.DeviceCert) bool {
	_, fixed := r.fixed[a.Device.ID()]
	device := !fixed && a.Device.ID() == b.Device.ID() && (a.Device != b.Device || a.Member != b.Member)
	memberFixed := false
	for _, f := range r.fixed {
		memberFixed = memberFixed || f.Member.ID() == a.Member.ID()
	}
	return device || !memberFixed && a.Member.ID() == b.Member.ID() && a.Member != b.Member
}

func (r *slowRoster) operating(d identity.DeviceID) bool {
	for _, list := range r.now.org {
		if slices.Contains(list, d) {
			return true
		}
	}
	return false
}

// dropsBy: removals of a device by organisers and by SetDevices.
func (r *slowRoster) dropsBy(d identity.DeviceID) (out []protocol.OpID) {
	if r.operating(d) {
		return nil
	}
	for _, x := range of[RemoveDevice](r.slow) {
		if payload[RemoveDevice](r.slow, x).Device == d {
			out = append(out, x)
		}
	}
	for q, list := range r.drops {
		if slices.Contains(list, d) {
			out = append(out, q)
		}
	}
	return out
}

func (r *slowRoster) dropsOf(d identity.DeviceID) []protocol.OpID {
	out := r.dropsBy(d)
	for _, x := range r.own {
		if payload[RemoveDevice](r.slow, x).Device == d {
			out = append(out, x)
		}
	}
	return out
}

// removalsOf m, section 6.4.
func (r *slowRoster) removalsOf(m identity.MemberID) []protocol.OpID {
	out := r.expelsOf(m)
	if r.organiser(m) {
		return out
	}
	for _, x := range of[RemoveMember](r.slow) {
		if payload[RemoveMember](r.slow, x).Target == m {
			out = append(out, x)
		}
	}
	for _, x := range r.leaves {
		if r.ops[x].Member == m {
			out = append(out, x)
		}
	}
	return out
}

// held lists the claims that act as far as organisers' removals go.
func (r *slowRoster) held() (out []protocol.OpID) {
	for _, a := range r.claims {
		if r.acts(a, out, r.dropsBy(r.ops[a].dev)) {
			out = append(out, a)
		}
	}
	return out
}

func (r *slowRoster) sawAll(x protocol.OpID, list []protocol.OpID) bool {
	return !slices.ContainsFunc(list, func(y protocol.OpID) bool { return !r.past[x][y] })
}

func (r *slowRoster) member(m identity.MemberID) bool {
	return r.organiser(m) || slices.ContainsFunc(r.adds, func(a protocol.OpID) bool {
		return r.ops[a].cert.Member.ID() == m && r.sawAll(a, r.removalsOf(m))
	})
}

// owner of a device by certificates that are not void.
func (r *slowRoster) owner(d identity.DeviceID) (identity.MemberID, bool) {
	if c, ok := r.fixed[d]; ok {
		return c.Member.ID(), true
	}
	for _, a := range slices.Concat(r.adds, r.claims) {
		if r.ops[a].cert.Device.ID() == d {
			return r.ops[a].cert.Member.ID(), true
		}
	}
	return identity.MemberID{}, false
}

func (r *slowRoster) mine(m identity.MemberID, d identity.DeviceID) bool {
	o, ok := r.owner(d)
	return ok && o == m
}

// acts is section 6.6.
func (r *slowRoster) acts(x protocol.OpID, addDevices, drops []protocol.OpID) bool {
	return !r.stopped(r.deedOf(x)) && r.present(x, addDevices, drops)
}

func (r *slowRoster) present(x protocol.OpID, addDevices, drops []protocol.OpID) bool {
	o := r.ops[x]
	if !r.mine(o.Member, o.dev) {
		return false
	}
	var adding []protocol.OpID
	for _, a := range slices.Concat(r.adds, addDevices) {
		if r.ops[a].cert.Device.ID() == o.dev && r.past[x][a] {
			adding = append(adding, a)
		}
	}
	for _, q := range r.chain {
		if slices.Contains(r.lists(q, o.Member), o.dev) && r.past[x][q] {
			adding = append(adding, q)
		}
	}
	f, ok := r.founder(o.Member)
	if founders := ok && f.Cert.Device.ID() == o.dev; !founders && len(adding) == 0 {
		return false
	}
	for _, y := range slices.Concat(r.removalsOf(o.Member), drops) {
		if !r.past[y][x] && !slices.ContainsFunc(adding, func(a protocol.OpID) bool { return r.past[a][y] }) {
			return false
		}
	}
	return true
}

// effective is the end of section 6.6.
func (r *slowRoster) effective(m identity.MemberID, d identity.DeviceID) bool {
	if slices.Contains(r.now.org[m], d) && r.mine(m, d) {
		return true
	}
	return slices.ContainsFunc(slices.Concat(r.adds, r.added), func(a protocol.OpID) bool {
		c := r.ops[a].cert
		return c.Device.ID() == d && c.Member.ID() == m && r.sawAll(a, r.removalsOf(m)) && r.sawAll(a, r.dropsOf(d))
	})
}

func (r *slowRoster) author(m identity.MemberID) bool {
	var revokes []protocol.OpID
	for _, x := range of[RevokeAuthor](r.slow) {
		if payload[RevokeAuthor](r.slow, x).Target == m {
			revokes = append(revokes, x)
		}
	}
	return slices.ContainsFunc(of[GrantAuthor](r.slow), func(g protocol.OpID) bool {
		return payload[GrantAuthor](r.slow, g).Target == m && r.sawAll(g, revokes)
	})
}

// boxed and operators of section 6.8.
func (r *slowRoster) boxed(devices []identity.DeviceID) (boxed, operators []identity.DeviceID) {
	for _, d := range devices {
		m, ok := r.owner(d)
		if ok && r.member(m) && !r.suspended(m) && r.effective(m, d) {
			boxed = append(boxed, d)
			if slices.Contains(r.now.org[m], d) {
				operators = append(operators, d)
			}
		}
	}
	slices.SortFunc(boxed, compareDevices)
	slices.SortFunc(operators, compareDevices)
	return boxed, operators
}

func (r *slowRoster) cut(d identity.DeviceID) (Cutoff, bool) {
	m, ok := r.owner(d)
	if !ok {
		return Cutoff{}, false
	}
	var answers, grants, in []protocol.OpID
	for _, a := range slices.Concat(r.adds, r.added) {
		if r.ops[a].cert.Device.ID() == d {
			answers = append(answers, a)
		}
	}
	for _, q := range r.chain {
		if slices.Contains(r.lists(q, m), d) {
			answers = append(answers, q)
		}
	}
	for _, g := range of[GrantAuthor](r.slow) {
		if payload[GrantAuthor](r.slow, g).Target == m {
			grants = append(grants, g)
		}
	}
	open := func(list, answers []protocol.OpID) {
		for _, x := range list {
			if !slices.ContainsFunc(answers, func(a protocol.OpID) bool { return r.past[a][x] }) {
				in = append(in, x)
			}
		}
	}
	open(r.removalsOf(m), answers)
	open(r.dropsOf(d), answers)
	for _, x := range r.remain {
		if r.organiser(m) && r.target(x) == m && !r.everLifted(x) {
			in = append(in, x)
		}
	}
	if r.now.policy.Posting == PostAuthors && !r.organiser(m) {
		var revokes []protocol.OpID
		for _, x := range of[RevokeAuthor](r.slow) {
			if payload[RevokeAuthor](r.slow, x).Target == m {
				revokes = append(revokes, x)
			}
		}
		open(revokes, grants)
	}
	if len(in) == 0 {
		return Cutoff{}, false
	}
	var cuts []Cutoff
	for _, x := range in {
		c := Cutoff{Device: d}
		for _, y := range slowCutoffs(r.ops[x].what) {
			if y.Device == d {
				c = y
			}
		}
		cuts = append(cuts, c)
	}
	return slices.MinFunc(cuts, func(a, b Cutoff) int {
		if a.Seq != b.Seq {
			return int(a.Seq) - int(b.Seq)
		}
		return slices.Compare(a.Content[:], b.Content[:])
	}), true
}

func slowCutoffs(p Payload) []Cutoff {
	switch p := p.(type) {
	case RemoveMember:
		return p.Cutoffs
	case RevokeAuthor:
		return p.Cutoffs
	case Leave:
		return p.Cutoffs
	case Suspend:
		return p.Cutoffs
	case RemoveDevice:
		return []Cutoff{Cutoff(p)}
	case Proposal:
		switch d := p.Decision.(type) {
		case Expel:
			return d.Cutoffs
		case SetDevices:
			return d.Cutoffs
		}
	}
	return nil
}

func (s *slow) dump(devices []identity.DeviceID) string {
	r := s.roster()
	var lines []string
	for m := range s.everyone() {
		if !r.member(m) {
			continue
		}
		role := Reader
		switch {
		case r.organiser(m):
			role = Organiser
		case r.author(m):
			role = Author
		}
		post := r.now.policy.Posting == PostAll || role == Organiser || role == Author && r.now.policy.Posting == PostAuthors
		line := fmt.Sprintf("%v %v %v %v:", m, role, post && !r.suspended(m), r.suspended(m))
		var devs []string
		for _, d := range devices {
			if r.effective(m, d) {
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
	boxed, operators := r.boxed(devices)
	lines = append(lines, fmt.Sprint("boxed ", boxed), fmt.Sprint("operators ", operators))
	for _, q := range s.chain {
		lines = append(lines, fmt.Sprint("decided ", q))
	}
	rem := ids{}
	named := s.everyone()
	for _, o := range s.ops {
		named[o.Member] = true
		switch p := o.what.(type) {
		case RemoveMember:
			named[p.Target] = true
		case Proposal:
			if d, ok := p.Decision.(Expel); ok {
				named[d.Target] = true
			}
		}
	}
	for m := range named {
		for _, x := range r.removalsOf(m) {
			rem[x] = true
		}
	}
	for _, d := range devices {
		for _, x := range r.dropsOf(d) {
			rem[x] = true
		}
	}
	for _, x := range s.remain {
		if r.organiser(s.target(x)) && !s.everLifted(x) {
			rem[x] = true
		}
	}
	var list []string
	for x := range rem {
		list = append(list, fmt.Sprint("removal ", x))
	}
	slices.Sort(list)
	lines = append(lines, list...)
	for _, d := range devices {
		if c, ok := r.cut(d); ok {
			lines = append(lines, fmt.Sprintf("cut %v %d %v", d, c.Seq, c.Content))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}
