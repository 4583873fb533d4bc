package lan

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// What is sent, byte by byte: a random name, a port, and what every packet of the
// service has.
func TestAnswerHoldsANameAndAPort(t *testing.T) {
	one := told{strings.Repeat("q", minName), 50001}
	b := answer(one)
	rest := slices.Clone(b)
	for _, known := range []string{one.name, "_p2p", "_udp", "local"} {
		if !bytes.Contains(rest, []byte(known)) {
			t.Errorf("%q is not in it", known)
		}
		rest = bytes.ReplaceAll(rest, []byte(known), nil)
	}
	port := binary.BigEndian.AppendUint16(nil, one.port)
	if bytes.Count(rest, port) != 1 {
		t.Errorf("the port is in it %d times", bytes.Count(rest, port))
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, r := range m.Answers {
		kinds = append(kinds, r.Header.Type.String())
	}
	if !slices.Equal(kinds, []string{"TypePTR", "TypeSRV", "TypeTXT"}) || len(m.Questions)+len(m.Authorities)+len(m.Additionals) > 0 {
		t.Errorf("the packet has %v, %+v", kinds, m)
	}
	if h, ok := parse(b); !ok || h.asks || !slices.Equal(h.told, []told{one}) {
		t.Errorf("it is read as %+v, %t", h, ok)
	}
	if h, ok := parse(question()); !ok || !h.asks || len(h.told) != 0 {
		t.Errorf("the question is read as %+v, %t", h, ok)
	}
}

func TestNamesAreRandom(t *testing.T) {
	seen, lengths := map[string]bool{}, map[int]bool{}
	for range 500 {
		name := drawName()
		if _, ok := label(mustName(name + "." + service)); !ok {
			t.Fatalf("%q is no name", name)
		}
		seen[name], lengths[len(name)] = true, true
	}
	if len(seen) != 500 || len(lengths) != maxName-minName+1 {
		t.Errorf("%d names of %d lengths", len(seen), len(lengths))
	}
}

// What is not as ours is passed over: other programs with libp2p, ports of printers,
// farewells, what is no packet.
func TestOtherPacketsArePassedOver(t *testing.T) {
	name := strings.Repeat("q", minName)
	change := func(f func(*dnsmessage.Message)) []byte {
		var m dnsmessage.Message
		if err := m.Unpack(answer(told{name, 50001})); err != nil {
			t.Fatal(err)
		}
		f(&m)
		return pack(m)
	}
	srv := func(m *dnsmessage.Message) *dnsmessage.SRVResource {
		return m.Answers[1].Body.(*dnsmessage.SRVResource)
	}
	for what, b := range map[string][]byte{
		"another program": change(func(m *dnsmessage.Message) { m.Answers[2].Body = &dnsmessage.TXTResource{TXT: []string{"dnsaddr=x"}} }),
		"a printer":       change(func(m *dnsmessage.Message) { srv(m).Port = 9100 }),
		"a low port":      change(func(m *dnsmessage.Message) { srv(m).Port = minPort - 1 }),
		"a farewell":      change(func(m *dnsmessage.Message) { m.Answers[1].Header.TTL = 0 }),
		"a short name":    change(func(m *dnsmessage.Message) { m.Answers[1].Header.Name = mustName("short." + service) }),
		"a capital":       change(func(m *dnsmessage.Message) { m.Answers[1].Header.Name = mustName("Q" + name + "." + service) }),
		"another service": change(func(m *dnsmessage.Message) { m.Answers[1].Header.Name = mustName(name + "._ipp._tcp.local.") }),
		"a question":      change(func(m *dnsmessage.Message) { m.Header.Response = false }),
		"an error":        change(func(m *dnsmessage.Message) { m.Header.RCode = dnsmessage.RCodeNameError }),
		"the 33rd record": change(func(m *dnsmessage.Message) {
			filler := slices.Repeat(m.Answers[:1], maxRecords)
			m.Answers = append(filler, m.Answers...)
		}),
		"cut off":  answer(told{name, 50001})[:60],
		"too long": append(answer(told{name, 50001}), make([]byte, maxPacket)...),
		"nothing":  nil,
		"noise":    bytes.Repeat([]byte{0xff}, 200),
	} {
		if h, _ := parse(b); len(h.told) != 0 || h.asks {
			t.Errorf("%s is read as %+v", what, h)
		}
	}
	if h, ok := parse(change(func(*dnsmessage.Message) {})); !ok || len(h.told) != 1 {
		t.Error("the packet that was changed is none itself")
	}
}

func FuzzPacket(f *testing.F) {
	f.Add(question())
	f.Add(answer(told{strings.Repeat("q", minName), 50001}))
	f.Add(append(answer(told{strings.Repeat("7", maxName), 65535}), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parse(b)
		if !ok && (h.asks || len(h.told) > 0) || len(h.told) > maxRecords {
			t.Fatalf("%+v, %t", h, ok)
		}
		for _, x := range h.told {
			if again, ok := parse(answer(x)); !ok || !slices.Equal(again.told, []told{x}) {
				t.Fatalf("%+v is read again as %+v", x, again)
			}
		}
	})
}
