package enginetest

import (
	"maps"
	"slices"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/epoch"
	"github.com/palabre-app/palabre/protocol/wire"
)

// witness keeps every secret that a node ever stored.
type witness map[*Node]map[string]string

func (w *World) witnessed() witness {
	all := witness{}
	w.committed = func(n *Node, b engine.Batch) {
		if all[n] == nil {
			all[n] = map[string]string{}
		}
		for _, r := range b.Puts {
			for s, what := range secretsOf(r.Table, r.Value) {
				all[n][s] = what
			}
		}
	}
	return all
}

// seedOf reads the rescue seed in a row.
func seedOf(value []byte) [32]byte {
	var r struct {
		_      struct{} `cbor:",toarray"`
		Secret [32]byte
		Over   int64
		Told   protocol.EpochID
		To     []identity.DeviceID
	}
	if err := wire.Unmarshal(value, 4_096, &r); err != nil {
		panic(err)
	}
	return r.Secret
}

func seedSlice(value []byte) []byte {
	r := seedOf(value)
	return r[:]
}

// secretsOf lists the secrets of 32 bytes in a row of keys.
func secretsOf(table engine.Table, value []byte) map[string]string {
	list := map[string]string{}
	pieces := func(b []byte, what string) {
		for c := range slices.Chunk(b, 32) {
			list[string(c)] = what
		}
	}
	switch table {
	case tableOfKEM:
		var r kemRow
		if wire.Unmarshal(value, 256, &r) == nil {
			pieces(r.KEM[:], "KEM key")
		}
	case tableOfSeeds:
		list[string(seedSlice(value))] = "rescue seed"
	case tableOfSecrets:
		var r struct {
			_                             struct{} `cbor:",toarray"`
			Version                       uint8
			Epoch                         protocol.EpochID
			Net, SenderData, Pad, Confirm [32]byte
			Org, Taken, Nodes             []byte
		}
		if wire.Unmarshal(value, epoch.MaxBaseRecord, &r) == nil {
			pieces(r.Net[:], "net key")
			pieces(r.SenderData[:], "sender data")
			pieces(r.Pad[:], "pad")
			pieces(r.Confirm[:], "confirm")
			pieces(r.Org, "organisers' secret")
			pieces(r.Nodes, "node of the tree")
		}
	case tableOfChains:
		var r struct {
			_       struct{} `cbor:",toarray"`
			Version uint8
			Epoch   protocol.EpochID
			Device  identity.DeviceID
			Next    uint32
			Secret  [32]byte
			Skipped []byte
		}
		if wire.Unmarshal(value, epoch.MaxChainRecord, &r) == nil {
			pieces(r.Secret[:], "chain")
			for c := range slices.Chunk(r.Skipped, 48) {
				list[string(c[4:36])] = "key that was passed over"
			}
		}
	}
	delete(list, string(make([]byte, 32)))
	return list
}

// leaks are the secrets that were stored once, are in no row of keys any more, and
// still lie somewhere in the storage, in whatever row.
func (all witness) leaks(n *Node, m *Memory) []string {
	gone := maps.Clone(all[n])
	for _, table := range []engine.Table{tableOfKEM, tableOfSecrets, tableOfChains, tableOfSeeds} {
		for k, r := range m.rows[table] {
			if table == tableOfChains && m.rows[tableOfSecrets][k[:32]].value == nil {
				continue // of an epoch that was erased
			}
			for s := range secretsOf(table, r.value) {
				delete(gone, s)
			}
		}
	}
	var found []string
	for _, rows := range m.rows {
		for k, r := range rows {
			for _, b := range [][]byte{[]byte(k), r.value} {
				for i := 0; i+32 <= len(b); i++ {
					if what, ok := gone[string(b[i:i+32])]; ok {
						found = append(found, what)
					}
				}
			}
		}
	}
	return found
}
