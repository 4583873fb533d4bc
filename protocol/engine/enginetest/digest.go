package enginetest

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/wire"
)

// record makes one Ready part of the digest, every field of it.
func (n *Node) record(r *engine.Ready) {
	part := func(bs ...[]byte) {
		for _, b := range bs {
			n.w.digest.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
			n.w.digest.Write(b)
		}
	}
	number := func(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
	part([]byte(n.Name), number(uint64(n.w.Now)), number(uint64(r.Wake)), number(uint64(r.Persist.ShredBefore)))
	for _, d := range r.Persist.Deletes {
		part([]byte{byte(d.Table)}, d.Key)
	}
	for _, p := range r.Persist.Puts {
		part([]byte{byte(p.Table)}, p.Key, p.Value, number(uint64(p.Shred)))
	}
	if g := r.Gate; g != nil {
		for _, k := range append(slices.Clone(g.Accept), g.Dial...) {
			part(k.Secret[:], []byte{byte(k.Class)}, k.Tag[:])
		}
		ids := slices.SortedFunc(maps.Keys(g.Devices), func(a, b identity.DeviceID) int { return slices.Compare(a[:], b[:]) })
		for _, d := range ids {
			part(d[:])
		}
	}
	for _, m := range r.Send {
		part(number(uint64(m.Peer)), m.Data)
	}
	for _, id := range r.Announce {
		part(id[:])
	}
	for _, ev := range r.Deliver {
		part([]byte(fmt.Sprint(ev.Kind, ev.ID, ev.Own)))
	}
	for _, p := range r.Close {
		part(number(uint64(p)))
	}
}

// wantedIDs reads a message that asks for envelopes (spec 65 section 2).
func wantedIDs(data []byte) []protocol.EnvelopeID {
	var ids []protocol.EnvelopeID
	if len(data) == 0 || data[0] != 2 || wire.Unmarshal(data[1:], 1<<16, &ids) != nil {
		return nil
	}
	return ids
}

// sortedCounts lists what happened how often.
func sortedCounts(counts map[string]int) string {
	out := ""
	for _, k := range slices.SortedFunc(maps.Keys(counts), cmp.Compare) {
		out += fmt.Sprintf("  %-22s %d\n", k, counts[k])
	}
	return out
}
