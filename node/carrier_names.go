package node

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/group"
)

// parseCarrier reads a letter carrier as people hand it on: an address that ends with
// /p2p/ and the carrier's peer ID, and behind # a ticket of 32 bytes in base64url.
func parseCarrier(s string) (c carrier, ok bool) {
	addr, ticket, closed := strings.Cut(strings.TrimSpace(s), "#")
	if closed {
		b, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
		if err != nil || len(b) != 32 {
			return c, false
		}
		c.ticket = (*[32]byte)(b)
	}
	at, name, _ := strings.Cut(addr, "/p2p/")
	plain, ok := dialable(at)
	if !ok && dialableWeb(at) {
		plain, ok = at, true
	}
	if !ok {
		return c, false
	}
	c.addr = plain + "/p2p/" + name
	_, id, err := p2p.FerryAddr(c.addr)
	c.id, c.named = string(id), c.addr
	if closed {
		c.named += "#" + ticket
	}
	return c, err == nil && len(c.named) <= group.MaxFerry
}

// dialableWeb says whether at is an address of the web road (spec 63) that somebody can
// be at.
func dialableWeb(at string) bool {
	there, _ := strings.CutSuffix(at, "/tls/ws")
	if strings.HasPrefix(at, "/dns") {
		return p2p.WebAddr(at) && !strings.HasSuffix(there, "/tcp/0")
	}
	_, ok := dialable(there)
	return ok && p2p.WebAddr(at)
}

// withoutTicket is a carrier as everybody may see it.
func withoutTicket(named string) string {
	addr, _, _ := strings.Cut(named, "#")
	return addr
}

// carriersGiven reads the carriers that somebody wants to have named.
func carriersGiven(given *[]string) (list []carrier, err error) {
	if given == nil {
		return nil, nil
	}
	if len(*given) > group.MaxFerries {
		return nil, code(api.CodeTooManyCarriers)
	}
	for _, s := range *given {
		c, ok := parseCarrier(s)
		if !ok {
			return nil, code(api.CodeInvalidCarrier)
		}
		list = append(list, c)
	}
	return list, nil
}

// nameCarriers makes them those of a policy. Whoever has seen a carrier without its
// ticket can name it again.
func nameCarriers(p group.Policy, list []carrier) group.Policy {
	var named []string
	for _, c := range list {
		s := c.named
		for _, old := range p.FerryList() {
			if c.ticket == nil && withoutTicket(old) == c.addr {
				s = old
			}
		}
		named = append(named, s)
	}
	if q, err := p.WithFerries(named); err == nil { // what was read is within the bounds
		return q
	}
	return p
}

// carrierStatus is how the letter carriers of a group stand.
func (g *groupState) carrierStatus() (list []api.CarrierStatus) {
	faults := g.engine.Faults()
	for _, c := range g.carriers.list {
		f := faults[c.id]
		told := api.CarrierStatus{Address: c.addr, Unreached: c.pause != 0, Faults: f.False + f.Withheld + f.Lost}
		if c.visited != 0 {
			told.Answered = time.UnixMilli(int64(c.visited)).UTC().Format(time.RFC3339)
		}
		list = append(list, told)
	}
	return list
}
