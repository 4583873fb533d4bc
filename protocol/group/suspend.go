package group

import (
	"cmp"
	"slices"

	"github.com/palabre-app/palabre/identity"
)

// suspend finds the suspensions that remain (spec 40 section 6.3): any organiser
// stops any other at once, holds at most one that a quorum has not lifted, and
// never again one whom a quorum gave back.
func (a *authority) suspend(view set) {
	var list []int
	view.each(func(i int) {
		if p, ok := a.log.nodes[i].payload.(Suspend); ok && a.stands(a.log.deed(i)) &&
			a.organised(p.Target, a.log.nodes[i].past.has) {
			list = append(list, i)
		}
	})
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, a.log.byPast)
	burnt := a.burnt(view)
	valid := map[identity.MemberID][]int{} // by target
	var all []int
	for _, i := range list {
		n := &a.log.nodes[i]
		o := a.log.deed(i)
		target := n.payload.(Suspend).Target
		stopped := slices.ContainsFunc(valid[n.op.Member], func(s int) bool { return o.saw(s) && !a.liftedFor(s, o) })
		if stopped || burnt[pair{n.op.Member, target}] && !a.everLifted(i) {
			continue
		}
		valid[target] = append(valid[target], i)
		all = append(all, i)
	}
	first := a.firstOfEach(all)
	for _, i := range all {
		n := &a.log.nodes[i]
		lifted := a.everLifted(i)
		if lifted || first[n.op.Member] == i {
			target := n.payload.(Suspend).Target
			a.remaining[target] = append(a.remaining[target], suspension{at: i, lifted: lifted})
		}
	}
}

// pair is who suspended whom.
type pair struct{ author, target identity.MemberID }

// burnt lists the pairs of which a quorum has lifted a suspension.
func (a *authority) burnt(view set) map[pair]bool {
	burnt := map[pair]bool{}
	if len(a.reinstates) == 0 {
		return burnt
	}
	view.each(func(i int) {
		if p, ok := a.log.nodes[i].payload.(Suspend); ok && a.everLifted(i) {
			burnt[pair{a.log.nodes[i].op.Member, p.Target}] = true
		}
	})
	return burnt
}

// firstOfEach is the one suspension of each author that counts while no quorum
// has spoken: that with the lowest seq, then the smallest id.
func (a *authority) firstOfEach(all []int) map[identity.MemberID]int {
	first := map[identity.MemberID]int{}
	for _, i := range all {
		if a.everLifted(i) {
			continue
		}
		author := a.log.nodes[i].op.Member
		k, ok := first[author]
		if !ok || cmp.Or(cmp.Compare(a.log.nodes[i].op.Seq, a.log.nodes[k].op.Seq),
			compareOps(a.log.nodes[i].id, a.log.nodes[k].id)) < 0 {
			first[author] = i
		}
	}
	return first
}

// byPast orders operations by what they had seen, then by id.
func (l *Log) byPast(a, b int) int {
	x, y := &l.nodes[a], &l.nodes[b]
	return cmp.Or(x.size-y.size, compareOps(x.id, y.id))
}
