package group

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var onlyMutant = flag.String("mutant", "", "run only mutants with this in their name")

var (
	mutantPart  = flag.Int("mutant-part", 0, "which part of the mutants, from 0")
	mutantParts = flag.Int("mutant-parts", 1, "into how many parts they are divided")
)

var runMutants = flag.Bool("mutants", false, "break each rule in turn and demand that the tests notice (minutes)")

// mutants are the rules of spec 40 section 6, each broken once.
var mutants = []struct{ name, file, old, new string }{
	{"no branch weight", "quorum.go", "if len(list) > 1 {", "if false {"},
	{"quorum minus 1", "quorum.go", "len(s.organisers)/2 + 1", "len(s.organisers) / 2"},
	{"weight counts equivocators", "weight.go", "case p.Proposal != id:\n\t\t\tok = false", "case p.Proposal != id && compareOps(p.Proposal, id) < 0:\n\t\t\tid = p.Proposal"},
	{"replaced phones speak on the branch that replaced them", "weight.go", "slices.Concat(v.dropped, now)", "slices.Concat(v.dropped, now[:0])"},
	{"drops without a majority", "weight.go", "if _, ok := b.count(place, i); !ok {\n\t\t\treturn\n\t\t}", ""},
	{"any certified device stands", "weight.go", "if slices.Contains(list, n.frame.Device) {", "if true {"},
	{"replaced phones stand later", "weight.go", "list = b.along(s, m, b.path(s.last, -1, id)).listed", "o := b.log.first[m]\n\t\t\tlist = slices.Concat(o.Devices, b.along(s, m, b.path(s.last, -1, id)).listed)"},
	{"new phones do not stand before they were listed", "weight.go", "v.listed = append(v.listed, next...)", ""},
	{"new grant replaces no phones", "weight.go", "case GrantOrganiser:\n\t\treturn d.Devices, d.Target == m", "case GrantOrganiser:\n\t\treturn nil, false"},
	{"two devices are two voices", "quorum.go", " && !slices.Contains(list, n.op.Member) {", " {"},
	{"any grant revives", "authority.go", "a.log.nodes[d.at].past.has(e) && o.saw(d.at)", "o.saw(d.at)"},
	{"removed phones leave", "resolve.go", " && r.present(i, claims[n.frame.Device]) {", " && claims != nil {"},
	{"readers issue epochs", "cover.go", " || !then.MayPost(m.ID)", " || then == nil"},
	{"removal does not beat an unseen add", "resolve.go", "if !r.log.nodes[i].past.has(x) {\n\t\t\treturn false", "if !r.log.nodes[i].past.has(x) {\n\t\t\treturn true"},
	{"anybody chooses an organiser's keys", "members.go", "return 1\n\t\t}\n\t\treturn 0", "return 0\n\t\t}\n\t\treturn 0"},
	{"devices take nothing back", "weight.go", "if slices.Contains(voices, b.log.nodes[v].frame.Device) {", "if slices.Contains(tried[b.log.nodes[v].payload.(Vote).Proposal], b.log.nodes[v].frame.Device) {"},
	{"accomplices replace phones", "weight.go", "backed := len(voters) >= speak.majority()", "backed := len(voters) >= 0"},
	{"who was expelled still counts against backing", "weight.go", "case Expel, SetRecovery:", "case SetRecovery:"},
	{"accomplices back", "weight.go", "voters, _ := b.voters(speak, i)", "voters, _ := b.voters(place, i)"},
	{"accomplices make a paper", "weight.go", " && place.recovery == speak.recovery {", " {"},
	{"lists over their max", "parse.go", "if len(list) > MaxCutoffs {", "if len(list) > 2*MaxCutoffs {"},
	{"devices twice", "parse.go", "if i > 0 && compareDevices(list[i-1], list[i]) >= 0 {", "if i > 0 && compareDevices(list[i-1], list[i]) > 0 {"},
	{"any order of what is repudiated", "decision.go", " || !protocol.SortedIDs(d.Repudiate)", ""},
	{"any version of an operation", "op.go", "o.Version != protocol.Version || ", ""},
	{"any suite of a key package", "keys.go", " || w.Suite != protocol.Suite", ""},
	{"expired key packages", "keys.go", "if now >= p.Expires {", "if now >= p.Expires && now < 0 {"},
	{"key updates jump a gap", "ring.go", "case u.Counter == newest.Counter+1:", "case u.Counter > newest.Counter:"},
	{"grant of who was not added in its past", "wellformed.go", "if c.at >= 0 && !n.past.has(c.at) {", "if c.at < -1 {"},
	{"used key packages", "build.go", "if _, known := l.certs[cert.Device.ID()]; known {", "if _, known := l.certs[cert.Device.ID()]; known && l == nil {"},
	{"paper does not stand", "weight.go", "if b.paperStandsOn(s, proposal) {", "if false {"},
	{"any certified device votes", "quorum.go", "slices.Contains(s.organisers[n.op.Member], n.frame.Device) &&", "len(s.organisers[n.op.Member]) > 0 &&"},
	{"paper counts for three", "quorum.go", "len(s.organisers) == 2 && s.recovery", "len(s.organisers) <= 3 && s.recovery"},
	{"paper grants", "quorum.go", "(d.Decides() == DecideExpel || d.Decides() == DecideReinstate)", "true"},
	{"expel empties", "quorum.go", "return !in || len(s.organisers) > 1", "return in || !in"},
	{"grant of who organises", "quorum.go", "return !in && len(s.organisers) < protocol.MaxOrganisers", "return in || !in"},
	{"policy never changes", "quorum.go", "s.policy = d.Policy", ""},
	{"votes jump ahead", "wellformed.go", "return ok && prev.Seq+1 == v.Seq", "return ok && prev.Seq > 0"},
	{"votes unseen", "wellformed.go", "if !ok || !n.past.has(i) || l.nodes[i].op.Member != n.op.Member {", "if !ok || l.nodes[i].op.Member != n.op.Member {"},
	{"proposal unseen", "wellformed.go", "if !ok || !n.past.has(i) {", "if !ok {"},
	{"no repudiate", "authority.go", "!a.repudiated[o.id] && a.organised", "a.organised"},
	{"expelled goes on", "authority.go", "&& !a.expelled(o) &&", "&&"},
	{"dropped phone goes on", "authority.go", "gone = true\n", "\n"},
	{"grant unseen", "authority.go", "ok && g.Target == m && saw(d.at)", "ok && g.Target == m"},
	{"suspended goes on", "authority.go", "return !o.seenBy(s.at) && !a.liftedFor(s.at, o)", "return false && !a.liftedFor(s.at, o)"},
	{"lifted for all", "authority.go", "past.has(s) && (o.seenBy(r) || o.saw(r))", "past.has(s)"},
	{"no pair burn", "suspend.go", "if stopped || burnt[pair{n.op.Member, target}] && !a.everLifted(i) {", "if stopped || burnt == nil {"},
	{"no cap", "suspend.go", "if lifted || first[n.op.Member] == i {", "if lifted || first != nil {"},
	{"suspended suspends", "suspend.go", "if stopped || burnt", "if stopped && !stopped || burnt"},
	{"suspend whom nobody made organiser", "suspend.go", " &&\n\t\t\ta.organised(p.Target, a.log.nodes[i].past.has) {", " && p.Target.String() != \"\" {"},
	{"expel leaves membership", "resolve.go", "for m, list := range r.auth.expels {", "for m, list := range r.auth.reinstates {"},
	{"leave of no effect", "resolve.go", "r.removes[m] = append(r.removes[m], i)\n\t}\n}\n\n// answered", "_ = m\n\t}\n}\n\n// answered"},
	{"organiser leaves at once", "resolve.go", "if !r.auth.organises(n.op.Member) && !r.auth.repudiated", "if !r.auth.repudiated"},
	{"claims of removed phones take devices out", "devices.go", "r.acts(i, claims[n.frame.Device])", "r.acts(i, r.claims[n.frame.Device])"},
	{"one removes an organiser", "resolve.go", "if !r.auth.organises(p.Target) && r.valid(i) {", "if r.valid(i) {"},
	{"operating device removed by one", "resolve.go", "case r.isOperating(p.Device): // takes a quorum", "case false:"},
	{"dropped devices stay", "resolve.go", "if !r.isOperating(device) {", "if false {"},
	{"suspended organiser rejects", "resolve.go", "&& !r.auth.suspended(n.op.Member) && r.valid(i) {\n\t\t\t\tr.rejected", "&& r.valid(i) {\n\t\t\t\tr.rejected"},
	{"suspended adds devices", "devices.go", "return !r.auth.stopped(r.log.deed(i)) && r.present", "return r.present"},
	{"void device adds devices", "devices.go", "r.acts(i, r.addsOf[n.frame.Device])", "r.acts(i, r.claims[n.frame.Device])"},
	{"removed device adds devices", "devices.go", "for _, list := range [][]int{r.removes[m], r.drops[d]} {", "for _, list := range [][]int{r.removes[m]} {"},
	{"removed member removes devices", "devices.go", "for _, list := range [][]int{r.removes[m], r.drops[d]} {", "for _, list := range [][]int{r.drops[d]} {"},
	{"claim against an add", "devices.go", "if void[d] || known && k != (owner{c.Device, c.Member}) {", "if void[d] || known && k == (owner{}) {"},
	{"suspended is boxed", "members.go", "func(m *Member, _ Device) bool { return !m.Suspended })", "func(m *Member, _ Device) bool { return true })"},
	{"newcomers hold nothing", "cover.go", "list = append(list, d)\n\t\t\t}\n\t\tcase AddDevice:", "_ = d\n\t\t\t}\n\t\tcase AddDevice:"},
	{"outsiders uncover", "cover.go", "if slices.Contains(operators, n.frame.Device) || slices.Contains(now.resolver.addsOf[d], i) {", "if operators != nil || now != nil {"},
	{"answers by what came later", "cover.go", "l.holdersAt(parent, mine, l.closure(heads).has)", "l.holders(parent)"},
	{"answers by who operates now", "cover.go", "len(without(mine.Operators(), before.Operators())) > 0", "mine != nil && len(without(l.Resolve().Operators(), before.Operators())) > 0"},
	{"answers a parent that it did not see", "cover.go", "return !slices.ContainsFunc(ops, func(id protocol.OpID) bool { return !past.has(l.index[id]) })", "return past != nil || len(ops) >= 0"},
	{"void epochs serve", "cover.go", "return !a.valid(o)", "return false"},
	{"suspension has no cut-off", "cutoff.go", "if !s.lifted {", "if false {"},
	{"re-grant answers nothing", "cutoff.go", "slices.Concat(r.addsOf[d], r.listing(m, d))", "slices.Concat(r.addsOf[d])"},
}

// TestMutants breaks each rule and runs the traces, the histories and the
// attacks: each break must be noticed.
func TestMutants(t *testing.T) {
	if !*runMutants {
		for _, m := range mutants { // at least they still apply
			b, err := os.ReadFile(m.file)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(b), m.old); n != 1 {
				t.Errorf("%s: its text is %d times in %s", m.name, n, m.file)
			}
		}
		return
	}
	dir := t.TempDir()
	built, found, noticed := 0, 0, 0
	for k, m := range mutants {
		if k%*mutantParts != *mutantPart {
			continue
		}
		b, err := os.ReadFile(m.file)
		if err != nil {
			t.Fatal(err)
		}
		file, overlay := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
		at, err := filepath.Abs(m.file)
		if err != nil {
			t.Fatal(err)
		}
		list, _ := json.Marshal(map[string]map[string]string{"Replace": {at: file}})
		for name, content := range map[string][]byte{file: []byte(strings.Replace(string(b), m.old, m.new, 1)), overlay: list} {
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if *onlyMutant != "" && !strings.Contains(m.name, *onlyMutant) {
			continue
		}
		binary := filepath.Join(dir, "mutant.test")
		if out, err := exec.Command("go", "test", "-c", "-overlay", overlay, "-o", binary, ".").CombinedOutput(); err != nil {
			t.Errorf("%s: does not build\n%s", m.name, out)
			continue
		}
		built++
		// The search written from the text comes first, to see what it finds alone.
		alone, err := exec.Command(binary, "-test.run", "TestAttacksMillion$", "-attack-histories", fmt.Sprint(*siegeCount), "-attack-seed", fmt.Sprint(*siegeSeed)).CombinedOutput()
		if err != nil {
			found++
			t.Logf("%s: noticed by %s", m.name, firstFailure(string(alone)))
			continue
		}
		rest, err := exec.Command(binary, "-test.run", "TestTrace|TestByHand|TestConflict|TestMustReject|TestHistories|TestAttackers", "-test.failfast",
			"-histories", "400", "-attacks", "200", "-rapid.nofailfile").CombinedOutput()
		if err == nil {
			t.Errorf("%s: survives", m.name)
			continue
		}
		noticed++
		t.Logf("%s: noticed by %s", m.name, firstFailure(string(rest)))
	}
	t.Logf("part %d of %d: of %d mutants %d build, the search alone notices %d, the other tests %d of the rest", *mutantPart, *mutantParts, len(mutants), built, found, noticed)
}

// firstFailure is the test that noticed, and the history in which.
func firstFailure(out string) string {
	_, rest, _ := strings.Cut(out, "--- FAIL: ")
	name, rest, _ := strings.Cut(rest, " ")
	if _, at, ok := strings.Cut(rest, "-attack-from "); ok && name == "TestAttacksMillion" {
		at, _, _ = strings.Cut(at, " ")
		return name + " in history " + at
	}
	return name
}
