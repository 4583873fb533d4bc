package engine

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/wire"
)

// This file moves the pages of epochs whose boxes travel apart from their header
// (spec 65 section 9): a reader asks for the page that can hold its own box, an
// organiser's device for all of them.

// Bounds of what is asked for and watched on one link.
const (
	maxPagesAsked   = 8   // not yet given
	maxPagesWatched = 128 // to be given when they come
	maxPageList     = 16  // addresses in one message
)

// A page that nobody who is connected holds is asked of one of them at a time, to
// be looked for further on: after the first pause, then ever more rarely.
var (
	farFirst = Seconds(5)
	farLast  = Seconds(300)
)

// pageKey names one page.
type pageKey struct {
	epoch protocol.EpochID
	index int
}

func (k pageKey) row() []byte { return binary.BigEndian.AppendUint16(k.epoch[:], uint16(k.index)) }

func comparePages(a, b pageKey) int {
	return cmp.Or(bytes.Compare(a.epoch[:], b.epoch[:]), cmp.Compare(a.index, b.index))
}

// pages is what is known of pages: all of the headers that are kept.
type pages struct {
	known map[protocol.MailboxID]pageKey
	held  map[pageKey]bool
	own   map[pageKey]protocol.EnvelopeID // those that may be left at ferries
	wants map[pageKey]*pageWant
}

// pageWant is a page that is lacking.
type pageWant struct {
	asked Peer // 0: nobody is asked now
	until Time // when another is asked; with nobody asked, when one is asked to look further
	pause Time // between those
	tried map[Peer]bool
	far   map[Peer]bool // asked to look further
}

func newPages() pages {
	return pages{known: map[protocol.MailboxID]pageKey{}, held: map[pageKey]bool{}, own: map[pageKey]protocol.EnvelopeID{}, wants: map[pageKey]*pageWant{}}
}

// pageAddress is the address of the mailbox of one page.
func pageAddress(s *epochState, index int) protocol.MailboxID {
	return epoch.PageMailbox(s.header, uint16(index)).Address()
}

// wantPages makes the pages of new headers known, and lists those that an
// organiser's device lacks: it keeps all of them, for others and for audits.
func (e *Engine) wantPages() (bool, error) {
	all := e.organises()
	for _, s := range e.byGen {
		n := s.header.Pages()
		if n == 0 || s.paged && (s.allPages || !all || !s.accepted) {
			continue
		}
		id := s.header.ID()
		for i := range n {
			if !s.paged {
				e.pages.known[pageAddress(s, i)] = pageKey{id, i}
			}
			if all && s.accepted {
				e.wantPage(pageKey{id, i})
			}
		}
		s.paged, s.allPages = true, all && s.accepted
	}
	e.askPages()
	return false, nil
}

func (e *Engine) wantPage(k pageKey) {
	if !e.pages.held[k] && e.pages.wants[k] == nil {
		e.pages.wants[k] = &pageWant{until: e.now + farFirst, pause: farFirst, tried: map[Peer]bool{}, far: map[Peer]bool{}}
	}
}

// forgetWants ends the search for pages of an epoch that a reader has opened.
func (e *Engine) forgetWants(id protocol.EpochID) {
	for k := range e.pages.wants {
		if k.epoch == id {
			delete(e.pages.wants, k)
		}
	}
}

// openBox opens this device's box in a header with one key. Where the boxes
// travel apart only one page can hold it: ErrPageMissing says that it is asked for.
func (e *Engine) openBox(s *epochState, k *kemKey) (*epoch.Keys, error) {
	if s.header.Pages() == 0 {
		return s.header.Open(k.kem, false)
	}
	pub := k.kem.Public()
	at := pageKey{s.header.ID(), s.header.PageOf(&pub)}
	if !e.pages.held[at] {
		e.wantPage(at)
		return nil, epoch.ErrPageMissing
	}
	if err := e.loadPage(s, at.index); err != nil {
		return nil, err
	}
	defer s.header.DropPages() // memory holds no boxes that are on disk
	return s.header.Open(k.kem, false)
}

// loadPage puts a stored page into its header.
func (e *Engine) loadPage(s *epochState, index int) error {
	envelope, err := e.row(tablePages, pageKey{s.header.ID(), index}.row())
	if err != nil {
		return err
	}
	p, err := e.parsePage(s, index, envelope)
	if err != nil {
		return err
	}
	return s.header.AddPage(p)
}

// holdsPages says whether all pages of an epoch are held.
func (e *Engine) holdsPages(s *epochState) bool {
	for i := range s.header.Pages() {
		if !e.pages.held[pageKey{s.header.ID(), i}] {
			return false
		}
	}
	return true
}

// loadPages puts all pages of an epoch into its header, for an audit; DropPages
// ends it. False: not all of them are held.
func (e *Engine) loadPages(s *epochState) (bool, error) {
	if !e.holdsPages(s) {
		return false, nil
	}
	for i := range s.header.Pages() {
		if err := e.loadPage(s, i); err != nil {
			return false, err
		}
	}
	return true, nil
}

var errPage = errors.New("not the page that the header names")

// parsePage takes a page out of an envelope of its mailbox and checks that it is
// the one that the header names there.
func (e *Engine) parsePage(s *epochState, index int, envelope []byte) (epoch.Page, error) {
	f, err := open(epoch.PageMailbox(s.header, uint16(index)), envelope)
	if err != nil {
		return epoch.Page{}, err
	}
	p, err := epoch.ParsePage(f)
	if err != nil {
		return epoch.Page{}, err
	}
	// The hash is over the boxes alone: without this a page could travel under many ids.
	if pub, ok := e.devicePublic(f.Device); p.Index != index || !ok || !f.Verify(e.id, pub) {
		return epoch.Page{}, errPage
	}
	return p, s.header.CheckPage(p)
}

// putPage stores a page and gives it to whoever waits for it.
func (e *Engine) putPage(k pageKey, envelope []byte) {
	e.pages.held[k] = true
	delete(e.pages.wants, k)
	e.put(tablePages, k.row(), envelope, 0)
	s := e.epochs[k.epoch]
	s.tried = 0 // the box may be in it
	if e.holdsPages(s) {
		e.rejects.seen = 0 // now it can be audited
	}
	address := pageAddress(s, k.index)
	for _, p := range e.sortedPeers() {
		if p.pages[address] {
			delete(p.pages, address)
			e.send(p, msgGive, envelope)
		}
	}
}

// dropPages forgets the pages of an epoch. gone: its header is forgotten, too.
func (e *Engine) dropPages(s *epochState, gone bool) {
	id := s.header.ID()
	for i := range s.header.Pages() {
		k := pageKey{id, i}
		if e.pages.held[k] {
			delete(e.pages.held, k)
			e.erase(tablePages, k.row())
		}
		if _, own := e.pages.own[k]; own {
			delete(e.pages.own, k)
			e.erase(tablePagePuts, k.row())
		}
		delete(e.pages.wants, k)
		if gone && s.paged {
			delete(e.pages.known, pageAddress(s, i))
		}
	}
	s.allPages = false
}

// eraseOldPages leaves a reader with the pages of epochs that nothing succeeded:
// for two phones on one network that help each other forward.
func (e *Engine) eraseOldPages() {
	if e.asOrganiser() == nil {
		return
	}
	for _, s := range e.byGen {
		if s.header.Pages() > 0 && s.covered != 0 && (s.keys != nil || s.erased) && !e.inUse(s) {
			e.dropPages(s, false)
		}
	}
}

func (e *Engine) loadPageRow(key []byte) error {
	if len(key) != 34 {
		return errors.New("malformed row of a page")
	}
	k := pageKey{protocol.EpochID(key[:32]), int(binary.BigEndian.Uint16(key[32:]))}
	s := e.epochs[k.epoch]
	if s == nil || k.index >= s.header.Pages() {
		return errors.New("a page of an epoch that is not stored")
	}
	e.pages.held[k] = true
	return nil
}

// pageBody is the body of msgPages.
type pageBody struct {
	_    struct{} `cbor:",toarray"`
	Far  bool     // look for those that are not held among others
	List []protocol.MailboxID
}

func parsePages(body []byte) (pageBody, bool) {
	var m pageBody
	err := wire.Unmarshal(body, maxPageList*34+8, &m)
	return m, err == nil && len(m.List) > 0 && len(m.List) <= maxPageList
}

// onPages gives pages. Knowing the address of a page's mailbox is the right to
// it: the address comes from the header.
func (e *Engine) onPages(p *peer, body []byte) bool {
	m, ok := parsePages(body)
	if !ok {
		return false
	}
	if e.join != nil || p.class == ClassInvite {
		return true
	}
	for _, address := range m.List {
		k, known := e.pages.known[address]
		if known && e.pages.held[k] {
			if envelope, err := e.row(tablePages, k.row()); err == nil && envelope != nil {
				e.send(p, msgGive, envelope)
				continue
			}
		}
		if len(p.pages) < maxPagesWatched {
			p.pages[address] = true
		}
		if s := e.epochs[k.epoch]; known && m.Far && s.accepted && s.covered == 0 {
			e.wantPage(k)
			e.pages.wants[k].tried[p.id] = true
		}
		e.send(p, msgEnd, wire.Marshal(address))
	}
	return true
}

// givenPage takes an envelope that belongs into a page's mailbox. A page that is
// not the one that the header names is the fault of who gave it.
func (e *Engine) givenPage(p *peer, k pageKey, envelope []byte) bool {
	w := e.pages.wants[k]
	if w == nil || !w.tried[p.id] {
		return true // came by another way, or never asked for: nothing unasked is taken
	}
	if _, err := e.parsePage(e.epochs[k.epoch], k.index, envelope); err != nil {
		w.answered(p.id, e.now)
		return false
	}
	e.putPage(k, envelope)
	return true
}

// lacksPage learns that a peer does not hold a page that it was asked for.
func (e *Engine) lacksPage(p *peer, address protocol.MailboxID) {
	if k, ok := e.pages.known[address]; ok && e.pages.wants[k] != nil {
		e.pages.wants[k].answered(p.id, e.now)
	}
}

// answered lets the next one be asked, if it was p's turn.
func (w *pageWant) answered(p Peer, now Time) {
	if w.asked == p {
		w.asked, w.until = 0, now+w.pause
	}
}

// losePeer takes a link that ended out of the search for pages.
func (e *Engine) losePeer(id Peer) {
	for _, w := range e.pages.wants {
		w.answered(id, e.now)
		delete(w.tried, id)
		delete(w.far, id)
	}
}

// askPages asks for what is lacking: one peer for one page at a time, at most
// maxPagesAsked of one peer, beginning at another peer for each page. Who was
// asked and had nothing gives it when it comes there.
func (e *Engine) askPages() {
	if len(e.pages.wants) == 0 {
		return
	}
	load, idle := map[Peer]int{}, map[*pageWant]bool{}
	for _, w := range e.pages.wants {
		if e.now >= w.until {
			idle[w] = w.asked == 0
			w.asked, w.until = 0, e.now+w.pause
		}
		if w.asked != 0 {
			load[w.asked]++
		}
	}
	peers := slices.DeleteFunc(e.sortedPeers(), func(p *peer) bool { return p.class != ClassMember && p.class != ClassCatchUp })
	if len(peers) == 0 {
		return
	}
	ask := map[Peer][]protocol.MailboxID{}
	for i, k := range slices.SortedFunc(maps.Keys(e.pages.wants), comparePages) {
		w := e.pages.wants[k]
		untried := false
		for j := range peers {
			p := peers[(i+j)%len(peers)]
			if w.asked != 0 || w.tried[p.id] {
				continue
			}
			untried = true
			if load[p.id] < maxPagesAsked {
				w.asked, w.until, w.tried[p.id] = p.id, e.now+wantFor, true
				load[p.id]++
				ask[p.id] = append(ask[p.id], pageAddress(e.epochs[k.epoch], k.index))
			}
		}
		if idle[w] && w.asked == 0 && !untried {
			e.askFar(w, k, peers)
		}
	}
	for _, p := range peers {
		if list := ask[p.id]; len(list) > 0 {
			e.send(p, msgPages, wire.Marshal(pageBody{List: list}))
		}
	}
}

// askFar asks one peer more to look for a page that nobody here holds.
func (e *Engine) askFar(w *pageWant, k pageKey, peers []*peer) {
	w.pause = min(w.pause*2, farLast)
	w.until = e.now + w.pause
	for _, p := range peers {
		if !w.far[p.id] {
			w.far[p.id] = true
			e.send(p, msgPages, wire.Marshal(pageBody{Far: true, List: []protocol.MailboxID{pageAddress(e.epochs[k.epoch], k.index)}}))
			return
		}
	}
	clear(w.far) // once around: who was asked first may have met others meanwhile
}

// nextPage is when the search for pages goes on by itself. 0: it does not.
func (e *Engine) nextPage() (next Time) {
	if len(e.peers) == 0 {
		return 0
	}
	for _, w := range e.pages.wants {
		if next == 0 || w.until < next {
			next = w.until
		}
	}
	return next
}
