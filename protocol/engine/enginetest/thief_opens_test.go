package enginetest

import (
	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
)

// openHeaders tries every KEM key on every header.
func (l *loot) openHeaders() {
	for id, h := range l.headers {
		for seed, k := range l.kem {
			name := "box" + string(id[:]) + string(seed[:])
			if l.tried[name] {
				continue
			}
			l.tried[name] = true
			if keys, err := h.Open(k, false); err == nil {
				l.gain("box", keys)
			}
		}
	}
}

// openMailboxes finds the mailboxes of all epochs of which any key is held.
func (l *loot) openMailboxes() {
	for id, sets := range l.keys {
		h := l.headers[id]
		for _, k := range sets {
			if h == nil || l.boxed[string(id[:])] {
				continue
			}
			l.boxed[string(id[:])] = true
			for day := protocol.DayOf(h.Core.CreatedAt) - 2; day <= min(l.now.Day(), protocol.DayOf(h.Core.CreatedAt)+40)+2; day++ {
				l.box(epoch.CommonMailbox(k.Net(), day))
			}
			for _, lane := range h.Core.Lanes {
				l.box(epoch.LaneMailbox(k.Net(), lane))
			}
		}
	}
}

func (l *loot) openEnvelopes() {
	for id, b := range l.pool {
		env, err := protocol.ParseEnvelope(b)
		must(l.t, err)
		box := l.boxes[env.Mailbox]
		if box == nil {
			continue
		}
		delete(l.pool, id)
		plain, err := box.Open(b)
		must(l.t, err)
		f, err := protocol.ParseFrame(plain)
		must(l.t, err)
		l.places[f.ID(l.group)] = env.Mailbox
		l.take(plain)
		l.presence(f, l.heard)
	}
}

// openWelcomes tries every KEM key under every key package on the Welcomes.
func (l *loot) openWelcomes() {
	for id, f := range l.frames {
		if f.Kind != protocol.KindWelcome {
			continue
		}
		frames := []protocol.Frame{f}
		for other, c := range l.frames {
			if c.Kind == protocol.KindChunk && l.places[other] == l.places[id] {
				frames = append(frames, c)
			}
		}
		for hash := range l.packages {
			for seed, k := range l.kem {
				name := "welcome" + string(id[:]) + string(hash[:]) + string(seed[:])
				if l.tried[name] {
					continue
				}
				l.tried[name] = true
				w, err := epoch.OpenWelcome(l.group, frames, k, hash, func(d identity.DeviceID, _ *epoch.Welcome) (identity.DevicePublic, bool) {
					pub, ok := l.devices[d]
					return pub, ok
				})
				if err != nil {
					continue
				}
				for _, e := range w.Epochs {
					l.take(e.Header)
					keys, err := epoch.ParseExport(e.Keys)
					must(l.t, err)
					l.gain("welcome", keys)
				}
				for _, o := range w.Originals {
					if _, c, err := protocol.ParseOriginal(o); err == nil && noticeTitle(c) != "" {
						l.opened[noticeTitle(c)] = true
					}
				}
			}
		}
	}
}

// openRequests wins the rescue seeds of who asked to join.
func (l *loot) openRequests() {
	for _, f := range l.frames {
		for id, k := range l.joins {
			if f.Kind != protocol.KindJoinRequest {
				continue
			}
			if r, err := epoch.OpenRequest(l.group, id, k, l.roots[id], f); err == nil {
				l.take(r.KeyPackage)
				l.box(epoch.RescueMailbox(r.Rescue))
			}
		}
	}
}

func (l *loot) openMessages() {
	lookup := func(d identity.DeviceID) (identity.DevicePublic, bool) { pub, ok := l.devices[d]; return pub, ok }
	for _, f := range l.frames {
		if f.Kind != protocol.KindMessage {
			continue
		}
		for _, sets := range l.keys {
			for _, k := range sets {
				if o, err := k.Open(l.group, f, lookup); err == nil && noticeTitle(o.Content) != "" {
					l.opened[noticeTitle(o.Content)] = true
				}
			}
		}
	}
}

// inbox says whether what is sealed to the organisers of an epoch opens.
func (l *loot) inbox(id protocol.EpochID) bool {
	for _, k := range l.keys[id] {
		if open, _, ok := k.Inbox(); ok && l.headers[id] != nil && open.Public() == l.headers[id].Core.InboxKey {
			return true
		}
	}
	return false
}
