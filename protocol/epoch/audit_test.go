package epoch

import (
	"slices"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Spec 30 section 4: exact, missing, repeated, smuggled, optional.
func TestAudit(t *testing.T) {
	g := newGroup(t, 12, 11)
	_, h, k := g.issue(t)
	want := g.expected()
	f := must[Findings](t)(h.Audit(k, want))
	if !f.Exact() {
		t.Fatalf("an honest epoch is not exact: %+v", f)
	}
	if f := must[Findings](t)(h.Audit(k, want[1:])); f.Exact() || len(f.Unmatched) != 1 {
		t.Errorf("smuggled recipient: %+v", f)
	}
	stranger := newGroup(t, 1, 99).expected()
	f = must[Findings](t)(h.Audit(k, append(want[:12:12], stranger...)))
	if f.Exact() || !slices.Equal(f.Missing, []identity.DeviceID{stranger[0].Device}) {
		t.Errorf("missing device: %+v", f)
	}
	stranger[0].Optional = true
	if f := must[Findings](t)(h.Audit(k, append(want[:12:12], stranger...))); !f.Exact() {
		t.Errorf("optional device: %+v", f)
	}
	want[0].Keys = append(want[0].Keys, want[1].Keys...)
	twice := append([]Expected{want[0]}, want[2:]...)
	if f := must[Findings](t)(h.Audit(k, twice)); f.Exact() || len(f.Repeated) != 1 {
		t.Errorf("device boxed twice: %+v", f)
	}
	renamed := g.expected()
	renamed[3].Member[0]++
	if f := must[Findings](t)(h.Audit(k, renamed)); f.Exact() || f.RosterGood {
		t.Errorf("roster hash of another roster: %+v", f)
	}
}

// Spec 30 section 4: random padding, or padding with one ciphertext changed, is
// a smuggled recipient.
func TestAuditTellsPadding(t *testing.T) {
	g := newGroup(t, 3, 12)
	org, secret := [32]byte{1}, [32]byte{2}
	for name, spoil := range map[string]func([]box){
		"honest":     func([]box) {},
		"tag":        func(b []box) { b[9].Tag[0]++ },
		"ciphertext": func(b []box) { b[9].Ciphertext[5]++ },
		"gap":        func(b []box) { b[5] = padBox(label.Derive(secret[:], label.Pad), 7) },
	} {
		c := g.coreFor(t, org)
		d := g.draft()
		boxes := must[[]box](t)(d.boxes(label.Ref(label.EpochCore, wire.Marshal(c)), secret, &org, 10, dice(1)))
		spoil(boxes)
		h := g.handMade(t, c, secret, org, boxes)
		f := must[Findings](t)(h.Audit(g.open(t, h, 2), g.expected()))
		if f.Exact() != (name == "honest") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
