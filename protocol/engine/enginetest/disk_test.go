package enginetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/group"
	"github.com/palabre-app/palabre/protocol/wire"
)

// Tables that tests read in a phone's storage (spec 65 section 7).
const (
	tableOfMeta      = 1
	tableOfOps       = 2
	tableOfKeyFrames = 3
	tableOfSecrets   = 5
)

// secrets are the newest epoch's keys as a node has stored them.
func secrets(t *testing.T, n *Node) *epoch.Keys {
	t.Helper()
	var newest *epoch.Keys
	for _, k := range n.Store.keys(tableOfSecrets) {
		keys, err := epoch.ParseKeys(bytes.Clone(n.Store.rows[tableOfSecrets][k].value))
		must(t, err)
		if newest == nil || keys.Epoch() == protocol.EpochID(n.gate.Accept[0].Tag) {
			newest = keys
		}
	}
	return newest
}

// device is a node's device key as it has stored it.
func device(t *testing.T, n *Node) identity.DeviceKey {
	t.Helper()
	_, k, err := n.own()
	must(t, err)
	return k
}

// memberKey reads a member's key from its storage.
func memberKey(t *testing.T, n *Node) identity.MemberKey {
	t.Helper()
	k, _, err := n.own()
	must(t, err)
	return k
}

// logOf is the authority of a node as its storage has it.
func logOf(t *testing.T, n *Node) *group.Log {
	t.Helper()
	l, err := n.log()
	must(t, err)
	return l
}

func (n *Node) opCount() int { return len(n.Store.rows[tableOfOps]) }

// headers are those of all epochs that a node has stored.
func headers(t *testing.T, n *Node) (list []*epoch.Header) {
	t.Helper()
	for _, k := range n.Store.keys(4) {
		var r struct {
			_        struct{} `cbor:",toarray"`
			Frame    []byte
			Accepted bool
			Exact    bool
			Covered  int64
			Arrived  int64
			Erased   bool
			Asked    uint32
		}
		must(t, wire.Unmarshal(n.Store.rows[4][k].value, engine.MaxValueSize, &r))
		f, err := protocol.ParseFrame(r.Frame)
		must(t, err)
		h, err := epoch.ParseHeader(n.id, f)
		must(t, err)
		list = append(list, h)
	}
	return list
}

// envelopesOf are those that nodes hold.
func envelopesOf(nodes ...*Node) map[protocol.EnvelopeID][]byte {
	all := map[protocol.EnvelopeID][]byte{}
	for _, n := range nodes {
		for _, r := range n.Store.rows[tableOfEnvelopes] {
			all[protocol.IDOf(r.value)] = bytes.Clone(r.value)
		}
	}
	return all
}

// holds says whether a node has stored an envelope.
func (n *Node) holds(id protocol.EnvelopeID) bool {
	for k := range n.Store.rows[tableOfEnvelopes] {
		if strings.Contains(k, string(id[:])) {
			return true
		}
	}
	return false
}

// names lists all rows of a storage.
func (m *Memory) names() []string {
	var list []string
	for table := range m.rows {
		for _, k := range m.keys(table) {
			list = append(list, fmt.Sprintf("%d %x", table, k))
		}
	}
	slices.Sort(list)
	return list
}

// keeps says whether a text is in some row.
func (m *Memory) keeps(text string) bool {
	for _, rows := range m.rows {
		for _, r := range rows {
			if bytes.Contains(r.value, []byte(text)) {
				return true
			}
		}
	}
	return false
}
