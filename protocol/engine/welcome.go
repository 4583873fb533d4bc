package engine

import (
	"bytes"
	"errors"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
)

// approve signs the AddMember of a request, passes its key package on, and puts
// the Welcome where the joiner looks for it.
func (e *Engine) approve(id requestID) error {
	r := e.requests[id]
	v := e.invites[r.Invite]
	if v == nil || e.sending == (protocol.EpochID{}) {
		return ErrUnknown
	}
	frame, kp := e.requestKey(r)
	if kp.Expires <= e.now.Unix() {
		return ErrUnknown
	}
	roster := e.log.Resolve()
	if len(roster.Members()) >= protocol.MaxMembers || roster.DeviceCount() >= protocol.MaxDevices {
		return ErrGroupFull
	}
	added, err := e.sign(group.AddMember{Cert: kp.Cert.Marshal(), KeyPackage: frame.ID(e.id)})
	if err != nil {
		return err
	}
	if _, err := e.addKeyFrame(frame); err != nil {
		return err
	}
	if err := e.tellKey(frame); err != nil {
		return err
	}
	if err := e.putWelcome(added, frame, kp, r); err != nil {
		return err
	}
	e.addSeed(kp.Cert.Device.ID(), epoch.RescueItem{Counter: 1, Seed: epoch.RescueSeedFromBytes(r.Rescue)})
	v.Used++
	e.putInvite(r.Invite, v)
	delete(e.requests, id)
	e.erase(tableRequests, id[:])
	return nil
}

func (e *Engine) putWelcome(added protocol.OpID, frame protocol.Frame, kp group.KeyPackage, r *request) error {
	w := epoch.Welcome{Genesis: e.genesis, Added: added, History: uint8(e.policy().History)}
	for _, f := range e.log.Frames() {
		w.Ops = append(w.Ops, f.Marshal())
	}
	for _, s := range e.keptByUse() {
		if s.header.ID() != e.sending && (!e.sound(s) || e.superseded(s.header.ID()) || len(w.Epochs) == epoch.MaxWelcomeEpochs) {
			continue
		}
		keys, err := s.keys.Export(false)
		if err != nil {
			return err
		}
		w.Epochs = append(w.Epochs, epoch.WelcomeEpoch{Header: s.frame, Keys: keys})
	}
	for _, f := range e.keyFramesToGive() {
		w.KeyFrames = append(w.KeyFrames, f.Marshal())
	}
	for _, id := range e.feed.Newest() {
		b, err := e.row(tableItems, id[:])
		if err != nil {
			return err
		}
		if b != nil {
			w.Originals = append(w.Originals, b)
		}
	}
	history, err := e.history()
	if err != nil {
		return err
	}
	w.Originals = append(w.Originals, history...)
	w.Chains = e.chainHeads()
	hash := frame.ID(e.id)
	frames, err := epoch.SealWelcome(e.id, e.self.device, &kp.KEM, hash, w)
	if err != nil {
		return err
	}
	box := epoch.RescueMailbox(epoch.RescueSeedFromBytes(r.Rescue))
	var envelopes [][]byte
	for _, f := range frames {
		envelope, err := box.Seal(f.Marshal())
		if err != nil {
			return err
		}
		envelopes = append(envelopes, envelope)
	}
	e.deposit(box.Address(), envelopes, e.now.Day()+welcomeDays)
	return nil
}

// chainHeads tells a newcomer where each device's messages stand: gaps before
// that are not its to miss.
func (e *Engine) chainHeads() []epoch.WelcomeChain {
	var heads []epoch.WelcomeChain
	for _, m := range e.log.Resolve().Members() {
		for _, d := range m.Devices {
			if seq, id, ok := e.chains[d.ID].head(); ok {
				heads = append(heads, epoch.WelcomeChain{Device: d.ID, Seq: seq, Content: id})
			}
		}
	}
	slices.SortFunc(heads, func(a, b epoch.WelcomeChain) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	return heads
}

// sign makes an operation of this device's, puts it into effect and announces
// it. Where there are too many heads, Merges come first.
func (e *Engine) sign(payload group.Payload) (protocol.OpID, error) {
	if e.frozen {
		return protocol.OpID{}, ErrCopied
	}
	tips := e.tips()
	if _, adds := payload.(group.AddMember); adds {
		tips = e.tipsHeld() // others take the newcomer for somebody who was given these
	}
	for {
		f, err := e.log.NewOp(e.self.device, e.self.memberID, payload, idsOf(tips), e.now.Unix())
		if err == nil {
			return e.putOp(f)
		}
		if !errors.Is(err, group.ErrManyHeads) {
			return protocol.OpID{}, err
		}
		if f, err = e.log.NewMerge(e.self.device, e.self.memberID, idsOf(e.tips()), e.now.Unix()); err != nil {
			return protocol.OpID{}, err
		}
		if _, err := e.putOp(f); err != nil {
			return protocol.OpID{}, err
		}
	}
}

func (e *Engine) putOp(f protocol.Frame) (protocol.OpID, error) {
	if v, err := e.applyOp(f); v != protocol.Accept || err != nil {
		panic("engine: an own operation was refused")
	}
	if err := e.sealFrame(e.lastOps, e.now.Day(), f, 0); err != nil {
		return protocol.OpID{}, err
	}
	id := protocol.OpID(f.ID(e.id))
	if err := e.carryOps(e.lastOps); err != nil {
		return protocol.OpID{}, err
	}
	switch o, _, _ := e.log.Op(id); o.Kind {
	case group.KindProposal, group.KindVote, group.KindRecoveryVote:
		return id, e.carryToSuspended()
	}
	return id, nil
}

// carryToSuspended seals what organisers decide, and what it builds on, also
// into the newest epoch that a suspended organiser has: he still votes, and two
// of whom one is suspended decide nothing without him.
func (e *Engine) carryToSuspended() error {
	for _, m := range e.log.Resolve().Members() {
		if !m.Suspended {
			continue
		}
		for _, d := range m.Devices {
			if s := e.newestGiven(d.ID, nil); s != nil {
				if err := e.sealOps(s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// idsOf lists epochs as an operation names them, sorted, as many as have room.
func idsOf(list []*epochState) []protocol.EpochID {
	var ids []protocol.EpochID
	for _, s := range list {
		if len(ids) < protocol.MaxHeads {
			ids = append(ids, s.header.ID())
		}
	}
	return protocol.SortIDs(ids)
}
