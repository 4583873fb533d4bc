package enginetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/group"
)

// TestGoverningBadInput wants one clear error for each mistake, and nothing changed.
func TestGoverningBadInput(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia := w.Add("Dia")
	l, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, dia.Join(l))
	must(t, w.Run(engine.Seconds(90)))
	p, err := ana.SetPolicy(group.PostAuthors)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	decided, err := ben.SetPolicy(group.PostOrganisers)
	must(t, err)
	must(t, w.Run(engine.Seconds(10)))
	_, err = cam.Vote(decided.ID.String())
	must(t, err)
	must(t, w.Run(engine.Seconds(90)))
	paper, err := identity.NewRecoveryKey(ana.random)
	must(t, err)
	id := func(n *Node) string { return n.member.String() }
	now := ana.Now()
	dev := func(n *Node) string {
		list, err := n.Engine.Devices("")
		must(t, err)
		return list[0].ID.String()
	}
	third := func(_ engine.Proposed, err error) error { return err }
	keep := func(p group.Policy) group.Policy { return p }
	tests := map[string]struct {
		n    *Node
		do   func(e *engine.Engine) error
		want error
	}{
		"suspend nobody":          {ana, func(e *engine.Engine) error { return e.Suspend(now, "ffffffffff") }, engine.ErrUnknown},
		"suspend short":           {ana, func(e *engine.Engine) error { return e.Suspend(now, id(ben)[:5]) }, engine.ErrPrefix},
		"suspend oneself":         {ana, func(e *engine.Engine) error { return e.Suspend(now, id(ana)) }, engine.ErrSelf},
		"suspend a reader":        {ana, func(e *engine.Engine) error { return e.Suspend(now, id(dia)) }, engine.ErrNoOrganiser},
		"suspend by a reader":     {dia, func(e *engine.Engine) error { return e.Suspend(now, id(ben)) }, engine.ErrNotOrganiser},
		"expel by a reader":       {dia, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), nil)) }, engine.ErrNotOrganiser},
		"expel nobody":            {ana, func(e *engine.Engine) error { return third(e.Expel(now, "ffffffffff", nil)) }, engine.ErrUnknown},
		"expel by no prefix":      {ana, func(e *engine.Engine) error { return third(e.Expel(now, "", nil)) }, engine.ErrPrefix},
		"expel undoing nothing":   {ana, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), []string{""})) }, engine.ErrPrefix},
		"expel undoing unknown":   {ana, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), []string{"ffffffffff"})) }, engine.ErrUnknown},
		"expel undoing short":     {ana, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), []string{"fff"})) }, engine.ErrPrefix},
		"expel undoing another's": {ana, func(e *engine.Engine) error { return third(e.Expel(now, id(ben), []string{p.ID.String()})) }, engine.ErrUnknown},
		"reinstate who is not":    {ana, func(e *engine.Engine) error { return third(e.Reinstate(now, id(ben))) }, engine.ErrNotSuspended},
		"reinstate a reader":      {ana, func(e *engine.Engine) error { return third(e.Reinstate(now, id(dia))) }, engine.ErrNoOrganiser},
		"grant an organiser":      {ana, func(e *engine.Engine) error { return third(e.GrantOrganiser(now, id(ben))) }, engine.ErrAlready},
		"devices of a reader":     {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(dia), []string{dev(dia)})) }, engine.ErrNoOrganiser},
		"no devices":              {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(ben), nil)) }, engine.ErrOutOfBounds},
		"five devices":            {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(ben), make([]string, 5))) }, engine.ErrOutOfBounds},
		"another's device":        {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(ben), []string{dev(cam)})) }, engine.ErrUnknown},
		"the same devices":        {ana, func(e *engine.Engine) error { return third(e.SetDevices(now, id(ben), []string{dev(ben)})) }, engine.ErrAlready},
		"the same policy":         {ana, func(e *engine.Engine) error { return third(e.SetPolicy(now, keep)) }, engine.ErrAlready},
		"a policy out of bounds": {ana, func(e *engine.Engine) error {
			return third(e.SetPolicy(now, func(p group.Policy) group.Policy { p.PeriodDays = 8; return p }))
		}, group.ErrPolicy},
		"a policy that is none": {ana, func(e *engine.Engine) error {
			return third(e.SetPolicy(now, func(p group.Policy) group.Policy { p.Posting = 99; return p }))
		}, group.ErrPolicy},
		"no paper ends":            {ana, func(e *engine.Engine) error { return third(e.SetRecovery(now, group.RecoveryPublic{})) }, engine.ErrAlready},
		"vote for nothing":         {ana, func(e *engine.Engine) error { return third(e.Vote(now, "ffffffffff")) }, engine.ErrUnknown},
		"vote for what is decided": {ana, func(e *engine.Engine) error { return third(e.Vote(now, decided.ID.String())) }, engine.ErrDecided},
		"vote short":               {ana, func(e *engine.Engine) error { return third(e.Vote(now, "fff")) }, engine.ErrPrefix},
		"vote for what lost":       {ana, func(e *engine.Engine) error { return third(e.Vote(now, p.ID.String())) }, engine.ErrDecided},
		"vote by a reader":         {dia, func(e *engine.Engine) error { return third(e.Vote(now, p.ID.String())) }, engine.ErrNotOrganiser},
		"paper for nothing":        {dia, func(e *engine.Engine) error { return third(e.RecoveryVote(now, "ffffff", paper)) }, engine.ErrUnknown},
		"paper for what lost":      {dia, func(e *engine.Engine) error { return third(e.RecoveryVote(now, p.ID.String(), paper)) }, engine.ErrDecided},
		"remove a voting device":   {ana, func(e *engine.Engine) error { return e.RemoveDevice(now, dev(ben)) }, engine.ErrOrganiser},
		"remove one's own voting":  {ana, func(e *engine.Engine) error { return e.RemoveDevice(now, dev(ana)) }, engine.ErrOrganiser},
		"remove another's":         {dia, func(e *engine.Engine) error { return e.RemoveDevice(now, dev(ben)) }, engine.ErrOrganiser},
		"remove no device":         {ana, func(e *engine.Engine) error { return e.RemoveDevice(now, "ffffffffff") }, engine.ErrUnknown},
		"remove an organiser":      {ana, func(e *engine.Engine) error { return e.Remove(now, id(ben)) }, engine.ErrOrganiser},
		"leave as organiser":       {ana, func(e *engine.Engine) error { return e.Leave(now) }, engine.ErrLeave},
		"confirm without an alarm": {ana, func(e *engine.Engine) error { return e.ConfirmAuthority(now) }, engine.ErrAlready},
		"devices of nobody":        {ana, func(e *engine.Engine) error { _, err := e.Devices("ffffffffff"); return err }, engine.ErrUnknown},
	}
	for name, x := range tests {
		before := x.n.Store.names()
		err := x.do(x.n.Engine)
		if !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
		if r := x.n.Engine.Ready(); !r.Empty() {
			t.Errorf("%s: something changed: %d rows, %d events", name, len(r.Persist.Puts), len(r.Deliver))
			x.n.flush()
		}
		if !slices.Equal(before, x.n.Store.names()) {
			t.Errorf("%s: something was stored", name)
		}
	}
}
