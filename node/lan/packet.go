package lan

import (
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// service is what is asked for. Other programs with libp2p use it too, and that
// libp2p answers at the port can be seen by connecting there (spec 60 section 7).
const service = "_p2p._udp.local."

// Bounds of packets (spec 62 section 2).
const (
	maxPacket  = 1500 // bytes, of what is looked at
	maxRecords = 32   // looked at in a packet
	minName    = 32   // characters of a name
	maxName    = 63
	minPort    = 49152 // IANA's ports for short use: nothing else of a neighbour is dialled
	ttl        = 120   // seconds, for those who keep records
)

// told is one name with its port.
type told struct {
	name string
	port uint16
}

// heard is what a packet says that matters here.
type heard struct {
	asks bool // for the service
	told []told
}

func mustName(s string) dnsmessage.Name { return dnsmessage.MustNewName(s) }

// question is the packet that asks who is there.
func question() []byte {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: mustName(service),
		Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}}}
	return pack(m)
}

// answer is the packet that says that t is there. The record of the place needs the
// name of a machine: it is the random one again, and no address is given for it.
func answer(t told) []byte {
	full, one := mustName(t.name+"."+service), dnsmessage.ClassINET|1<<15 // the only record of its name
	return pack(dnsmessage.Message{
		Header: dnsmessage.Header{Response: true, Authoritative: true},
		Answers: []dnsmessage.Resource{
			{Header: dnsmessage.ResourceHeader{Name: mustName(service), Class: dnsmessage.ClassINET, TTL: ttl},
				Body: &dnsmessage.PTRResource{PTR: full}},
			{Header: dnsmessage.ResourceHeader{Name: full, Class: one, TTL: ttl},
				Body: &dnsmessage.SRVResource{Port: t.port, Target: mustName(t.name + ".local.")}},
			{Header: dnsmessage.ResourceHeader{Name: full, Class: one, TTL: ttl},
				Body: &dnsmessage.TXTResource{TXT: []string{""}}},
		},
	})
}

func pack(m dnsmessage.Message) []byte {
	b, err := m.Pack()
	if err != nil {
		panic("lan: " + err.Error()) // all of it is ours
	}
	return b
}

// parse reads a packet. False: it is none, or too long.
func parse(b []byte) (h heard, ok bool) {
	var p dnsmessage.Parser
	head, err := p.Start(b)
	if err != nil || len(b) > maxPacket || head.OpCode != 0 || head.RCode != 0 || head.Truncated {
		return h, false
	}
	if !head.Response {
		h.asks, ok = asks(&p)
		return h, ok
	}
	if p.SkipAllQuestions() != nil {
		return h, false
	}
	others := map[string]bool{} // names that say more than ours do
	for range maxRecords {
		r, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return heard{}, false
		}
		name, ours := label(r.Name)
		switch {
		case ours && r.Type == dnsmessage.TypeSRV:
			srv, err := p.SRVResource()
			if err != nil {
				return heard{}, false
			}
			if srv.Port >= minPort && r.TTL > 0 {
				h.told = append(h.told, told{name, srv.Port})
			}
		case ours && r.Type == dnsmessage.TypeTXT:
			txt, err := p.TXTResource()
			if err != nil {
				return heard{}, false
			}
			others[name] = others[name] || strings.Join(txt.TXT, "") != ""
		default:
			if p.SkipAnswer() != nil {
				return heard{}, false
			}
		}
	}
	list := h.told[:0]
	for _, t := range h.told {
		if !others[t.name] {
			list = append(list, t)
		}
	}
	h.told = list
	return h, true
}

// asks reads questions, and says whether one is for the service.
func asks(p *dnsmessage.Parser) (yes, ok bool) {
	for range maxRecords {
		q, err := p.Question()
		if err == dnsmessage.ErrSectionDone {
			return yes, true
		}
		if err != nil {
			return false, false
		}
		yes = yes || q.Name.String() == service && (q.Type == dnsmessage.TypePTR || q.Type == dnsmessage.TypeALL)
	}
	return yes, true
}

// label is the first part of a name of the service, of the form that ours have.
func label(n dnsmessage.Name) (string, bool) {
	name, ok := strings.CutSuffix(n.String(), "."+service)
	if !ok || len(name) < minName || len(name) > maxName || strings.Trim(name, letters) != "" {
		return "", false
	}
	return name, true
}

// letters are those of names.
const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
