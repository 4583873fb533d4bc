package engine

import (
	"errors"

	"github.com/palabre-app/palabre/protocol/recon"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Nearly always two members know of the same. So a link is asked first, in one message,
// whether that is so in its epochs, and only those in which it is not are compared
// (spec 65 section 2).

// checkBody is one epoch in the body of msgCheck.
type checkBody struct {
	_           struct{} `cbor:",toarray"`
	Tag         [16]byte
	Fingerprint [recon.FingerprintSize]byte
}

// Bytes of the body of msgChecked, one for each epoch that was asked about.
const (
	checkSame    = 0
	checkDiffers = 1
	checkNone    = 2 // not known here, or not for this link
	checkClosed  = 3 // the same is known, and some of it never opens here and is not held
)

var errCheck = errors.New("a question about no epochs, or too many")

// check asks whether the other side knows of the same in epochs. One question at a time is
// open on a link: the answer says only how many it is for.
func (e *Engine) check(p *peer, list []*epochState) {
	if p.class != ClassMember || p.old || p.checking != nil {
		return
	}
	var ask []checkBody
	for _, s := range list[:min(len(list), maxReconTags)] {
		if p.recon[s.tag] == nil {
			ask = append(ask, checkBody{Tag: s.tag, Fingerprint: s.fingerprint()})
			p.checking = append(p.checking, session{set: s.recon, epoch: s.header.ID()})
		}
	}
	if len(ask) > 0 {
		e.send(p, msgCheck, wire.Marshal(ask))
	}
}

// parseCheck decodes the body of msgCheck.
func parseCheck(body []byte) ([]checkBody, error) {
	var list []checkBody
	err := wire.Unmarshal(body, maxReconTags*(3+16+recon.FingerprintSize)+8, &list)
	if err == nil && (len(list) == 0 || len(list) > maxReconTags) {
		err = errCheck
	}
	return list, err
}

func (e *Engine) onCheck(p *peer, body []byte) bool {
	list, err := parseCheck(body)
	if err != nil || e.join != nil {
		return false
	}
	mayKnow := p.class == ClassMember && !p.old
	if mayKnow {
		e.askNames(p)
	}
	answer := make([]byte, len(list))
	for i, c := range list {
		switch s := e.epochByTag(c.Tag); {
		case !mayKnow || s == nil:
			answer[i] = checkNone
		case s.fingerprint() != c.Fingerprint:
			answer[i] = checkDiffers
			e.nameFirst(p, s)
		case s.closed.Len() > 0:
			answer[i] = checkClosed
		}
	}
	e.send(p, msgChecked, answer)
	return true
}

func (e *Engine) onChecked(p *peer, answer []byte) bool {
	asked := p.checking
	p.checking = nil
	if len(asked) != len(answer) {
		return len(asked) == 0 // an answer to no question is passed over
	}
	for i, a := range answer {
		switch s := e.epochs[asked[i].epoch]; {
		case a > checkClosed:
			return false
		case a == checkSame:
			e.foundThere(&asked[i])
		case s == nil || s.keys == nil:
		case a == checkDiffers, a == checkClosed && e.unsentIn(asked[i].epoch):
			e.reconcile(p, s)
		}
	}
	return true
}
