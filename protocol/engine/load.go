package engine

import (
	"errors"
	"fmt"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Load opens a group from its storage, as it was when the last batch was
// committed.
func Load(cfg Config, id protocol.GroupID, now Time) (*Engine, error) {
	e := newEngine(cfg, id, now)
	e.shredded = 0 // days may have passed: the first step shreds for all of them
	if err := e.load(); err != nil {
		return nil, fmt.Errorf("opening a group: %w", err)
	}
	e.ready = Ready{}
	e.gateStale, e.retry, e.rejudge = true, true, true
	e.version++
	return e, e.settle()
}

func (e *Engine) load() error {
	meta := func(key []byte, f func([]byte) error) error {
		b, err := e.cfg.Storage.Get(tableMeta, key)
		if err != nil || b == nil {
			return err
		}
		return f(b)
	}
	if err := meta(keySelf, e.loadSelf); err != nil {
		return err
	}
	if e.self.device.IsZero() {
		return errors.New("the group is not stored")
	}
	if err := e.scan(tableKEM, func(_, v []byte) error { return e.loadKEM(v) }); err != nil {
		return err
	}
	if err := meta(keyJoin, e.loadJoin); err != nil || e.join != nil {
		return err
	}
	if err := meta(keyGenesis, e.loadGenesis); err != nil {
		return err
	}
	if e.log == nil {
		return errors.New("the group's foundation is not stored")
	}
	if err := meta(keyChain, func(b []byte) error { return wire.Unmarshal(b, 256, &e.self.state) }); err != nil {
		return err
	}
	if err := e.loadOps(); err != nil {
		return err
	}
	steps := []struct {
		table Table
		row   func(key, value []byte) error
	}{
		{tableEpochs, func(_, v []byte) error { return e.loadEpoch(v) }},
		{tableSecrets, e.loadSecrets},
		{tableChains, e.loadSender},
		{tableLinks, e.loadLink},
		{tableUnsent, e.loadUnsent},
		{tableWaiting, e.loadWaiting},
		{tableShares, e.loadShare},
		{tableDrafts, e.loadDraft},
		{tableInvites, e.loadInvite},
		{tableRequests, e.loadRequest},
		{tableRescue, e.loadRescue},
		{tableDecided, e.loadDecided},
		{tableSeeds, e.loadSeed},
		{tableServed, e.loadServed},
		{tableTwice, e.loadTwice},
		{tableFerries, e.loadFerry},
	}
	if err := e.loadKeyFrames(); err != nil {
		return err
	}
	for _, s := range steps {
		if err := e.scan(s.table, s.row); err != nil {
			return err
		}
	}
	if err := e.cfg.Storage.Keys(tableEnvelopes, nil, e.loadEnvelope); err != nil {
		return err
	}
	if err := e.cfg.Storage.Keys(tableClosed, nil, e.loadClosed); err != nil {
		return err
	}
	if err := e.cfg.Storage.Keys(tablePages, nil, e.loadPageRow); err != nil {
		return err
	}
	if err := e.scan(tablePagePuts, e.loadPagePut); err != nil {
		return err
	}
	if err := meta(keySending, func(b []byte) error { copy(e.lastOps[:], b); return nil }); err != nil {
		return err
	}
	if err := meta(keyClock, e.loadClock); err != nil {
		return err
	}
	if err := meta(keyFrozen, func([]byte) error { e.frozen = true; return nil }); err != nil {
		return err
	}
	if err := meta(keyOut, e.loadKnock); err != nil {
		return err
	}
	if err := meta(keyMissed, e.loadMissed); err != nil {
		return err
	}
	if err := meta(keyAddresses, e.loadAddresses); err != nil {
		return err
	}
	if err := meta(keyAlarm, func([]byte) error { e.authority.alarm = true; return nil }); err != nil {
		return err
	}
	e.authority.ledger = e.ledger()
	if err := e.loadItems(); err != nil {
		return err
	}
	e.loadPresence()
	e.loadActivity()
	e.loadCourier()
	return nil
}

// loadPresence reads again where others can be dialled.
func (e *Engine) loadPresence() {
	for _, s := range e.keptEpochs() {
		for _, n := range e.held.ofEpoch(s.header.ID(), func(n entry) bool { return n.kind == protocol.KindPresence }) {
			if f, _, err := e.frameOf(n); err == nil {
				if p, ok := parsePresence(f.Body); ok && !e.presenceOver(p) {
					e.notePresence(f.Device, p)
				}
			}
		}
	}
}

func (e *Engine) scan(t Table, f func(key, value []byte) error) error {
	return e.cfg.Storage.Scan(t, nil, f)
}

func (e *Engine) loadGenesis(b []byte) error {
	g, err := group.ParseGenesis(b)
	if err != nil {
		return err
	}
	if g.ID() != e.id {
		return errors.New("the stored group is another one")
	}
	e.log, e.genesis = group.NewLog(g), g.Marshal()
	e.ring = group.NewKeyRing(g)
	return nil
}

// loadOps reads the operations, which are stored in no order that fits: what
// finds no room among those that wait is offered again.
func (e *Engine) loadOps() error {
	var frames []protocol.Frame
	err := e.scan(tableOps, func(_, value []byte) error {
		f, err := protocol.ParseFrame(value)
		frames = append(frames, f)
		return err
	})
	for before := len(frames) + 1; err == nil && len(frames) > 0 && len(frames) < before; {
		before = len(frames)
		frames = slices.DeleteFunc(frames, func(f protocol.Frame) bool {
			// One that was held may have turned out not to hold: it is passed over.
			_, err := e.log.Add(f)
			return !errors.Is(err, group.ErrHeldFull)
		})
	}
	return err
}

func (e *Engine) loadKeyFrames() error {
	e.ring.Follow(e.log.Resolve())
	var frames []protocol.Frame
	err := e.scan(tableKeyFrames, func(_, value []byte) error {
		f, err := protocol.ParseFrame(value)
		frames = append(frames, f)
		return err
	})
	e.ring.Restore(frames)
	return err
}

func (e *Engine) loadSecrets(key, value []byte) error {
	keys, err := epoch.ParseKeys(value)
	if err != nil {
		return err
	}
	s := e.epochs[keys.Epoch()]
	if s == nil {
		return errors.New("secrets of an epoch that is not stored")
	}
	s.keys, s.tag = keys, keys.Net().Recon()
	e.openMailboxes(s)
	return nil
}

func (e *Engine) loadSender(key, value []byte) error {
	if len(key) != 48 {
		return errors.New("malformed row of a sender")
	}
	s := e.epochs[protocol.EpochID(key[:32])]
	if s == nil || s.keys == nil {
		return errors.New("a chain of an epoch that is not stored")
	}
	if err := s.keys.AddChain(value); err != nil {
		return err
	}
	s.stored = len(s.keys.Senders())
	return nil
}

func loadID(key []byte, into map[protocol.EnvelopeID]bool) error {
	if len(key) != 32 {
		return errors.New("malformed row of an envelope id")
	}
	into[protocol.EnvelopeID(key)] = true
	return nil
}

func (e *Engine) loadDraft(_, value []byte) error {
	var d draft
	if err := wire.Unmarshal(value, MaxValueSize, &d); err != nil {
		return err
	}
	e.drafts = append(e.drafts, d)
	return nil
}

func (e *Engine) loadInvite(key, value []byte) error {
	var v invite
	if err := wire.Unmarshal(value, MaxValueSize, &v); err != nil || len(key) != 16 {
		return errors.Join(err, errors.New("malformed row of an invite"))
	}
	e.invites[protocol.InviteID(key)] = &v
	return nil
}

func (e *Engine) loadRequest(key, value []byte) error {
	var r request
	if err := wire.Unmarshal(value, MaxValueSize, &r); err != nil || len(key) != 32 {
		return errors.Join(err, errors.New("malformed row of a request"))
	}
	e.requests[requestID(key)] = &r
	return nil
}

func (e *Engine) loadRescue(key, value []byte) error {
	if len(key) != 36 {
		return errors.New("malformed row of a rescue mailbox")
	}
	id := protocol.MailboxID(key[:32])
	e.rescue[id] = append(e.rescue[id], append([]byte(nil), value...))
	return nil
}

func (e *Engine) loadEnvelope(key []byte) error {
	n, err := parseEntry(key)
	if err != nil {
		return err
	}
	e.held.add(n)
	s := e.epochs[n.epoch]
	if s == nil {
		return errors.New("an envelope of an epoch that is not stored")
	}
	if s.reconciled(n) {
		_, err = s.recon.Add(reconItem(n))
	}
	return err
}

// loadItems shows the stored contents again: notices before what amends them,
// because only so many amendments may wait for a notice.
func (e *Engine) loadItems() error {
	for _, amendments := range []bool{false, true} {
		err := e.scan(tableItems, func(key, value []byte) error {
			o, c, err := protocol.ParseOriginal(value)
			if err != nil {
				return err
			}
			if amendments != (c.Type == protocol.TypeEdit || c.Type == protocol.TypeCancel) {
				return nil
			}
			roster, ok := e.log.At(c.GovHeads)
			if !ok {
				return errors.New("a content whose operations are not stored")
			}
			m, ok := roster.MemberOfDevice(identity.DeviceID(o.Device))
			if !ok || len(key) != 32 {
				return errors.New("a content of somebody unknown")
			}
			id := protocol.ContentID(key)
			e.show(id, o.Device, c, m)
			if !isName(c.Type) {
				// The day of the row is not read back: it is at least this one.
				e.items[id].shred = protocol.DayOf(c.ExpiresAt) + 1
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	// The rows were prolonged when the amendments came.
	for notice := range e.amended {
		shred, ids := e.prolonged(notice)
		for _, id := range ids {
			e.items[id].shred = shred
		}
	}
	return nil
}
