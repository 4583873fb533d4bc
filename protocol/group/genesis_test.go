package group

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/identity/label"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/wire"
)

func TestGenesisRoundTrip(t *testing.T) {
	g := found(t, DefaultPolicy(5), person(0), person(1), person(2))
	again, err := ParseGenesis(g.Marshal())
	if err != nil || again.ID() != g.ID() || len(again.Organisers) != 3 || again.Policy != DefaultPolicy(5) {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Marshal(), g.Marshal()) {
		t.Error("encodes differently")
	}
	var all []actor
	for i := range protocol.MaxOrganisers {
		all = append(all, person(i))
	}
	if n := len(found(t, DefaultPolicy(5), all...).Marshal()); n > MaxGenesis {
		t.Errorf("the largest has %d bytes", n)
	}
	if _, err := NewGenesis(zeros{}, nil, RecoveryPublic{}, DefaultPolicy(1)); !errors.Is(err, ErrGenesis) {
		t.Error("founded by nobody")
	}
	f := Founder{Member: person(1).member, Device: person(1).device, KEM: person(1).kem}
	if _, err := NewGenesis(zeros{}, []Founder{f, f}, RecoveryPublic{}, DefaultPolicy(1)); !errors.Is(err, ErrGenesis) {
		t.Error("one founder twice")
	}
	if _, err := NewGenesis(zeros{}, []Founder{f}, RecoveryPublic{}, Policy{}); !errors.Is(err, ErrGenesis) {
		t.Error("founded without a policy")
	}
	r, err := NewGenesis(zeros{}, []Founder{f}, RecoveryPublic{7}, DefaultPolicy(1))
	if err != nil || r.Recovery != (RecoveryPublic{7}) {
		t.Error("recovery key lost")
	}
}

// forge changes the encoded form and signs it anew as all founders.
func forge(g Genesis, f func(*genesisWire), signers ...actor) []byte {
	var w genesisWire
	if err := wire.Unmarshal(g.Marshal(), MaxGenesis, &w); err != nil {
		panic(err)
	}
	f(&w)
	w.Sigs = nil
	for _, s := range signers {
		w.Sigs = append(w.Sigs, s.device.Sign(label.Genesis, wire.Marshal(w.core())))
	}
	return wire.Marshal(w)
}

func TestGenesisMustReject(t *testing.T) {
	a, b := person(0), person(1)
	if compareMembers(a.id(), b.id()) > 0 {
		a, b = b, a
	}
	g := found(t, DefaultPolicy(5), a, b)
	if _, err := ParseGenesis(forge(g, func(*genesisWire) {}, a, b)); err != nil {
		t.Fatal("the good one", err)
	}
	for name, f := range map[string]func(*genesisWire){
		"version":        func(w *genesisWire) { w.Version = 2 },
		"suite":          func(w *genesisWire) { w.Suite = 2 },
		"nonce":          func(w *genesisWire) { w.Nonce[0] = 1 },
		"unsorted":       func(w *genesisWire) { w.Organisers[0], w.Organisers[1] = w.Organisers[1], w.Organisers[0] },
		"twice":          func(w *genesisWire) { w.Organisers[1] = w.Organisers[0] },
		"bad KEM":        func(w *genesisWire) { clear(w.Organisers[0].KEM[1184:]) },
		"no device":      func(w *genesisWire) { w.Organisers[0].Devices = nil },
		"not the device": func(w *genesisWire) { w.Organisers[0].Devices = []identity.DeviceID{{1}} },
		"other's device": func(w *genesisWire) {
			w.Organisers[0].Devices = append(w.Organisers[0].Devices, b.dev())
			sortDevices(w.Organisers[0].Devices)
		},
		"too many devices": func(w *genesisWire) {
			w.Organisers[0].Devices = append([]identity.DeviceID{{0}, {0, 1}, {0, 2}, {0, 3}}, a.dev())
		},
		"zero recovery":     func(w *genesisWire) { w.Recovery = make([]byte, 32) },
		"short recovery":    func(w *genesisWire) { w.Recovery = make([]byte, 31) },
		"policy":            func(w *genesisWire) { w.Policy.Posting = 4 },
		"certificate short": func(w *genesisWire) { w.Organisers[0].Cert = w.Organisers[0].Cert[1:] },
	} {
		signers := []actor{a, b}
		if name == "unsorted" { // each signs in their place, so that only the order is wrong
			signers = []actor{b, a}
		}
		if _, err := ParseGenesis(forge(g, f, signers...)); !errors.Is(err, ErrGenesis) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, signers := range map[string][]actor{"one signature": {a}, "wrong signer": {a, a}, "swapped": {b, a}, "three": {a, b, b}} {
		if _, err := ParseGenesis(forge(g, func(*genesisWire) {}, signers...)); !errors.Is(err, ErrGenesis) {
			t.Errorf("%s: %v", name, err)
		}
	}
	enc := g.Marshal()
	for i := range enc {
		if _, err := ParseGenesis(enc[:i]); err == nil {
			t.Fatalf("cut to %d bytes and taken", i)
		}
		if i%5 != 0 { // each parse verifies signatures
			continue
		}
		bad := bytes.Clone(enc)
		bad[i] ^= 1 << (i % 8)
		if _, err := ParseGenesis(bad); err == nil {
			t.Fatalf("byte %d changed and taken", i)
		}
	}
}

func sortDevices(list []identity.DeviceID) {
	if len(list) == 2 && compareDevices(list[0], list[1]) > 0 {
		list[0], list[1] = list[1], list[0]
	}
}

func TestEachFieldOfGenesisChangesTheGroup(t *testing.T) {
	a := person(0)
	g := found(t, DefaultPolicy(5), a)
	ids := map[protocol.GroupID]bool{g.ID(): true}
	for i, f := range []func(*genesisWire){
		func(w *genesisWire) {
			w.Nonce[0] = 1
			w.Organisers[0].Cert = identity.Certify(w.Nonce, a.member, a.device).Marshal()
		},
		func(w *genesisWire) { w.Organisers[0].KEM = kemOf(9) },
		func(w *genesisWire) { w.Organisers[0].Lane[0] ^= 1 },
		func(w *genesisWire) {
			w.Organisers[0].Devices = append([]identity.DeviceID{{}}, w.Organisers[0].Devices...)
		},
		func(w *genesisWire) { w.Recovery = bytes.Repeat([]byte{1}, 32) },
		func(w *genesisWire) { w.Policy.Posting = PostAuthors },
		func(w *genesisWire) { w.Policy.PeriodDays = 1 },
		func(w *genesisWire) { w.Policy.RetentionDays = 1 },
		func(w *genesisWire) { w.Policy.History = HistoryPinned },
		func(w *genesisWire) { w.Policy.HighRisk = 1 },
		func(w *genesisWire) { w.Policy.AlertOverride = 1 },
	} {
		h, err := ParseGenesis(forge(g, f, a))
		if err != nil || ids[h.ID()] {
			t.Errorf("field %d: %v", i, err)
		}
		ids[h.ID()] = true
	}
}

func TestPolicy(t *testing.T) {
	if DefaultPolicy(32).Posting != PostAll || DefaultPolicy(33).Posting != PostOrganisers {
		t.Error("default posting")
	}
	good := DefaultPolicy(1)
	if p, err := ParsePolicy(good.Marshal()); err != nil || p != good {
		t.Error(err)
	}
	for name, w := range map[string]policyWire{
		"posting 0":    {PeriodDays: 1, RetentionDays: 1},
		"posting 4":    {Posting: 4, PeriodDays: 1, RetentionDays: 1},
		"period 0":     {Posting: 1, RetentionDays: 1},
		"period 8":     {Posting: 1, PeriodDays: 8, RetentionDays: 1},
		"retention 0":  {Posting: 1, PeriodDays: 1},
		"retention 31": {Posting: 1, PeriodDays: 1, RetentionDays: 31},
		"history 2":    {Posting: 1, PeriodDays: 1, RetentionDays: 1, History: 2},
		"risk 2":       {Posting: 1, PeriodDays: 1, RetentionDays: 1, HighRisk: 2},
		"override 2":   {Posting: 1, PeriodDays: 1, RetentionDays: 1, AlertOverride: 2},
		"five ferries": {Posting: 1, PeriodDays: 1, RetentionDays: 1, Ferries: []string{"a", "b", "c", "d", "e"}},
		"ferry twice":  {Posting: 1, PeriodDays: 1, RetentionDays: 1, Ferries: []string{"a", "a"}},
		"order":        {Posting: 1, PeriodDays: 1, RetentionDays: 1, Ferries: []string{"b", "a"}},
		"no ferry":     {Posting: 1, PeriodDays: 1, RetentionDays: 1, Ferries: []string{""}},
		"long ferry":   {Posting: 1, PeriodDays: 1, RetentionDays: 1, Ferries: []string{strings.Repeat("a", MaxFerry+1)}},
		"space":        {Posting: 1, PeriodDays: 1, RetentionDays: 1, Ferries: []string{"a b"}},
		"control":      {Posting: 1, PeriodDays: 1, RetentionDays: 1, Ferries: []string{"a\x1b[2J"}},
		"not ASCII":    {Posting: 1, PeriodDays: 1, RetentionDays: 1, Ferries: []string{"é"}},
	} {
		if _, err := ParsePolicy(wire.Marshal(w)); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var most []string
	for _, c := range "dbca" {
		most = append(most, strings.Repeat(string(c), MaxFerry))
	}
	p, err := good.WithFerries(append(most, most[0]))
	if err != nil || len(p.FerryList()) != MaxFerries || p.Ferries[0] != most[3] || len(p.Marshal()) > MaxPolicy {
		t.Error(p, err)
	}
	if q, err := ParsePolicy(p.Marshal()); err != nil || q != p {
		t.Error("the largest policy", err)
	}
	if q, err := p.WithFerries(nil); err != nil || q != good {
		t.Error("none again", err)
	}
	for _, bad := range [][]string{{""}, {"a b"}, {"a", "b", "c", "d", "e"}} {
		if _, err := good.WithFerries(bad); !errors.Is(err, ErrPolicy) {
			t.Error(bad, err)
		}
	}
	for _, p := range []Posting{PostOrganisers, PostAuthors, PostAll} {
		if q, err := ParsePosting(p.String()); err != nil || q != p {
			t.Error(p, err)
		}
	}
	if _, err := ParsePosting("everybody"); err == nil {
		t.Error("unknown word")
	}
}
