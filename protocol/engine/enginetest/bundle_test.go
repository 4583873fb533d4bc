package enginetest

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/feed"
	"github.com/palabre-app/palabre/protocol/ferry"
	"github.com/palabre-app/palabre/protocol/group"
)

// bundle is the file that a node writes of what was said since a time.
func (n *Node) bundle(t *testing.T, since int64) []byte {
	t.Helper()
	b, err := n.Engine.Bundle(n.Now(), since)
	must(t, err)
	var out bytes.Buffer
	w := ferry.NewBundleWriter(&out)
	for i := 0; i < b.Len(); i += 10 {
		list, err := n.Engine.Parcels(b, i, 10)
		must(t, err)
		for _, x := range list {
			must(t, w.Add(x))
		}
	}
	must(t, w.Close())
	return out.Bytes()
}

// parcels is what a bundle holds, up to its end or to where it was cut off.
func parcels(t *testing.T, file []byte) (list []ferry.Parcel) {
	t.Helper()
	r, err := ferry.NewBundleReader(bytes.NewReader(file))
	for err == nil {
		var x ferry.Parcel
		if x, err = r.Next(); err == nil {
			list = append(list, x)
		}
	}
	if err != io.EOF && err != ferry.ErrCutOff {
		t.Fatal(err)
	}
	return list
}

// bring reads a bundle on a node, again as long as anything in it is new.
func (n *Node) bring(t *testing.T, file []byte) (all engine.Imported, passes int) {
	t.Helper()
	var envelopes [][]byte
	for _, x := range parcels(t, file) {
		envelopes = append(envelopes, x.Envelope)
	}
	for {
		if passes++; passes > 100 {
			t.Fatal("there is always something new in it")
		}
		var pass engine.Imported
		for some := range slices.Chunk(envelopes, 16) {
			var one engine.Imported
			saved, err := n.do(func(e *engine.Engine, now engine.Time) (err error) {
				one, err = e.Import(now, some)
				return err
			})
			if must(t, err); !saved {
				t.Fatal("it was not saved")
			}
			pass.New, pass.Known, pass.Other = pass.New+one.New, pass.Known+one.Known, pass.Other+one.Other
		}
		all.New, all.Known, all.Other = all.New+pass.New, pass.Known, pass.Other
		if pass.New == 0 {
			return all, passes
		}
	}
}

// alone cuts a node off from all others.
func (w *World) alone(n *Node) {
	for _, x := range w.nodes {
		w.Cut(n, x)
		w.Cut(x, n)
	}
}

// Somebody was away for weeks, and meets nobody: a file brings the keys that were
// renewed meanwhile, who is in the group now, and what was said.
func TestBundleBringsWhatWasMissed(t *testing.T) {
	w, ana, ben, cam := organised(t)
	dia, fay := w.Add("Dia"), w.Add("Fay")
	link, err := ana.Invite(engine.InviteParams{Uses: 2, AutoApprove: true})
	must(t, err)
	must(t, dia.Join(link))
	must(t, fay.Join(link))
	must(t, w.Run(engine.Seconds(90)))
	must(t, ana.Post("ancien", "Corps.", 0))
	must(t, w.Run(engine.Seconds(20)))
	dia.Stop()
	w.pass(t, 12, dia)
	must(t, ben.Remove(fay))
	must(t, w.Run(engine.Seconds(60)))
	must(t, ben.Post("nouveau", "Corps.", 0))
	must(t, cam.Post("encore", "Corps.", 0))
	must(t, ana.Edit("ancien", "Autre corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	file := ben.bundle(t, 0)
	ben.Stop()

	w.alone(dia)
	must(t, dia.Start())
	dia.sees(t, false, "nouveau", "encore")
	if dia.epoch() >= ana.epoch()-1 {
		t.Fatalf("dia is at epoch %d, ana at %d", dia.epoch(), ana.epoch())
	}
	got, passes := dia.bring(t, file)
	if got.New == 0 || got.Other != 0 || passes != 2 {
		t.Errorf("%+v in %d passes", got, passes)
	}
	dia.sees(t, true, "ancien", "nouveau", "encore")
	if v, err := dia.See("ancien"); err != nil || v.Body != "Autre corps." {
		t.Errorf("%q, %v", v.Body, err)
	}
	if dia.epoch() != ana.epoch() || dia.Engine.Waiting() || len(dia.Engine.Members()) != 4 {
		t.Errorf("dia is at epoch %d, ana at %d; %d members", dia.epoch(), ana.epoch(), len(dia.Engine.Members()))
	}
	if again, passes := dia.bring(t, file); again.New != 0 || again.Other != 0 || passes != 1 {
		t.Errorf("the second time %+v in %d passes", again, passes)
	}
	dia.Stop()
	must(t, dia.Start())
	dia.sees(t, true, "ancien", "nouveau", "encore")

	// What she writes goes back the same way.
	must(t, dia.Post("réponse", "Corps.", 0))
	ana.sees(t, false, "réponse")
	if got, _ := ana.bring(t, dia.bundle(t, dia.Now().Unix()-3_600)); got.New == 0 {
		t.Errorf("ana is brought %+v", got)
	}
	ana.sees(t, true, "réponse")
	must(t, w.Run(engine.Seconds(60)))
	cam.sees(t, true, "réponse") // whom ana met
	clear(w.cuts)
	must(t, ben.Start())
	must(t, w.Run(wakeUp))
	must(t, w.Run(healFor))
	must(t, w.Check())
}

// What a carrier holds: no address, no name, no text; nothing that a stranger, or
// who was removed before, can use.
func TestBundleInOtherHands(t *testing.T) {
	w, ana, ben, cam := organised(t)
	fay := w.Add("Fay")
	link, err := ana.Invite(engine.InviteParams{AutoApprove: true})
	must(t, err)
	must(t, fay.Join(link))
	must(t, w.Run(engine.Seconds(90)))
	w.alone(fay)
	must(t, ana.Remove(fay))
	must(t, w.Run(engine.Seconds(90)))
	must(t, ana.Post("rendez-vous", "Sous le grand arbre.", 0))
	must(t, ben.Post("encore", "Corps.", 0))
	ben.step(engine.Addresses{List: []string{address(ben)}})
	must(t, w.Run(engine.Seconds(60)))
	file := ana.bundle(t, 0)
	for _, word := range []string{"rendez-vous", "grand arbre", "Jardin", "encore"} {
		if bytes.Contains(file, []byte(word)) {
			t.Errorf("the file says %q", word)
		}
	}
	list := parcels(t, file)
	presence := 0
	for e, r := range ana.Store.rows[tableOfEnvelopes] {
		if e[68] == byte(protocol.KindPresence) {
			presence++
			if slices.ContainsFunc(list, func(x ferry.Parcel) bool { return bytes.Equal(x.Envelope, r.value) }) {
				t.Error("the file has addresses")
			}
		}
	}
	if presence == 0 {
		t.Error("ana holds no addresses")
	}

	fay.bring(t, file)
	fay.sees(t, false, "rendez-vous", "encore")
	if fay.epoch() >= ana.epoch() {
		t.Error("who was removed is in the new epoch")
	}

	other := NewWorld(99)
	eve := other.Add("Eve")
	must(t, eve.Found("Ailleurs", group.DefaultPolicy(10)))
	before := eve.Engine.Status()
	if got, passes := eve.bring(t, file); got.New+got.Known != 0 || got.Other != len(list) || passes != 1 {
		t.Errorf("another group takes %+v", got)
	}
	if eve.Engine.Status() != before {
		t.Error("another group's state has changed")
	}

	// Altered envelopes change nothing, and nothing that was held.
	cam.Stop()
	must(t, ben.Post("ensuite", "Corps.", 0))
	must(t, w.Run(engine.Seconds(30)))
	w.alone(cam)
	must(t, cam.Start())
	was := cam.Engine.Status()
	var envelopes [][]byte
	for _, x := range parcels(t, ben.bundle(t, 0)) {
		b := bytes.Clone(x.Envelope)
		b[len(b)-1] ^= 1
		envelopes = append(envelopes, b, b[:100], nil)
	}
	_, err = cam.do(func(e *engine.Engine, now engine.Time) error {
		got, err := e.Import(now, envelopes)
		if got.New != 0 {
			t.Errorf("altered envelopes: %+v", got)
		}
		return err
	})
	must(t, err)
	if cam.sees(t, false, "ensuite"); cam.Engine.Status() != was {
		t.Error("altered envelopes changed something")
	}
	if got, _ := cam.bring(t, ben.bundle(t, 0)); got.New == 0 {
		t.Error("and after them the good ones are not taken")
	}
	cam.sees(t, true, "ensuite")
	must(t, w.Check())
}

// What is urgent comes before what is not: a copy that was cut short brings it.
func TestBundleBeginsWithWhatIsUrgent(t *testing.T) {
	w, ana, ben, cam := organised(t)
	cam.Stop()
	for i := range 30 {
		must(t, ana.Post("courant "+string(rune('a'+i)), "Corps.", 0))
	}
	must(t, ana.postNotice("alerte", feed.Alert, nil))
	must(t, ana.postNotice("bientôt", feed.Info, &feed.Meeting{Start: w.Now.Unix() + 40*3_600, Zone: "Europe/Paris"}))
	must(t, ana.postNotice("plus tard", feed.Info, &feed.Meeting{Start: w.Now.Unix() + 80*3_600, Zone: "Europe/Paris"}))
	for i := range 30 {
		must(t, ana.Post("courant "+string(rune('A'+i)), "Corps.", 0))
	}
	must(t, w.Run(engine.Seconds(60)))
	file := ben.bundle(t, 0)
	w.alone(cam)
	must(t, cam.Start())
	// The shortest copy that brings the alert.
	for cut := 0; ; cut += 2_048 {
		if cut > len(file) {
			t.Fatal("the alert does not come")
		}
		cam.bring(t, file[:cut])
		_, alert := cam.See("alerte")
		_, soon := cam.See("bientôt")
		if alert == nil && soon == nil {
			break
		}
	}
	if n := len(cam.Engine.Notices(cam.Now(), nil, true)); n != 2 {
		t.Errorf("%d others came before the alert and the meeting", n-2)
	}
	cam.bring(t, file)
	cam.sees(t, true, "alerte", "bientôt", "plus tard", "courant a", "courant Z")

	// Since a time: what was said before it is not in it.
	w.Now += engine.Seconds(3 * daySeconds)
	for _, n := range w.nodes {
		n.step(engine.Tick{})
	}
	must(t, ana.Post("aujourd'hui", "Corps.", 0))
	must(t, w.Run(engine.Seconds(60)))
	small := ben.bundle(t, ben.Now().Unix()-daySeconds)
	if all := ben.bundle(t, 0); len(small) >= len(all)-50*2_048 {
		t.Errorf("%d bytes since yesterday, %d in all", len(small), len(all))
	}
	cam.bring(t, small)
	cam.sees(t, true, "aujourd'hui")
}

func (n *Node) postNotice(title string, u feed.Urgency, m *feed.Meeting) error {
	x := announcement(title, "Corps.")
	x.Urgency = u
	if m != nil {
		x.Type, x.Meeting = protocol.TypeMeeting, m
	}
	_, err := n.do(func(e *engine.Engine, now engine.Time) error {
		_, err := e.Post(now, x, 0)
		return err
	})
	return err
}

// Whoever runs a ferry can take from a bundle what all members can sign for; what
// lies in another device's lane only its own device can.
func TestBundleHasProofForCarriers(t *testing.T) {
	_, ana, ben, _ := organised(t)
	must(t, ana.w.Run(engine.Seconds(60)))
	must(t, ben.Post("bonjour", "Corps.", 0))
	must(t, ana.w.Run(engine.Seconds(60)))
	signed, bare := 0, map[protocol.EnvelopeID]bool{}
	for _, x := range parcels(t, ana.bundle(t, 0)) {
		if x.Deposit == nil {
			bare[protocol.IDOf(x.Envelope)] = true
			continue
		}
		signed++
		if _, err := ferry.ParseDeposit(x.Deposit.Marshal()); err != nil {
			t.Fatal(err)
		}
	}
	headers := map[protocol.EnvelopeID]bool{}
	for k, r := range ana.Store.rows[tableOfEnvelopes] {
		if k[68] == byte(protocol.KindEpoch) && k[32:36] == "\x00\x00\x00\x00" {
			headers[protocol.IDOf(r.value)] = true
		}
	}
	for id := range bare {
		if !headers[id] {
			t.Error("something else than a header in a lane has no proof")
		}
	}
	if signed == 0 || len(headers) == 0 {
		t.Errorf("%d with proof, %d headers", signed, len(headers))
	}
}

// In a group of more than 48 devices the file brings the page in which the key lies.
func TestBundleOfALargeGroup(t *testing.T) {
	w := NewWorld(701)
	nodes := crowd(t, w, 3)
	ana, dia := nodes[0], nodes[1]
	off := letIn(t, w, ana, 57)
	must(t, ana.removeAbsent(off[0]))
	must(t, w.Run(engine.Seconds(100)))
	dia.Stop()
	must(t, ana.removeAbsent(off[1]))
	must(t, w.Run(engine.Seconds(100)))
	must(t, ana.removeAbsent(off[2]))
	must(t, w.Run(engine.Seconds(100)))
	must(t, ana.Post("nouveau", "Corps.", 0))
	must(t, w.Run(engine.Seconds(20)))
	w.alone(dia)
	must(t, dia.Start())
	if dia.epoch() != ana.epoch()-2 {
		t.Fatalf("dia is at epoch %d, ana at %d", dia.epoch(), ana.epoch())
	}
	got, passes := dia.bring(t, ana.bundle(t, 0))
	if dia.sees(t, true, "nouveau"); dia.epoch() != ana.epoch() {
		t.Errorf("dia is at epoch %d, ana at %d: %+v in %d passes", dia.epoch(), ana.epoch(), got, passes)
	}
}
