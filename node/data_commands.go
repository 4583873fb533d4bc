package node

import (
	"time"

	"github.com/palabre-app/palabre/node/api"
	"github.com/palabre-app/palabre/node/p2p"
	"github.com/palabre-app/palabre/protocol/engine"
	"github.com/palabre-app/palabre/protocol/wire"
)

// dataView is what a person may know of the data that was spent.
func (n *Node) dataView() api.Data {
	now, d := n.clock(), &n.data
	d.count(now)
	return api.Data{Today: useView(*d.today(now)), Month: useView(d.month(now)), CapBytes: d.cap, Low: d.low(now),
		Reached: d.reached(now), Until: endOf(dayOf(now)).Format(time.RFC3339)}
}

func useView(u use) api.DataUse {
	at := func(p p2p.Purpose) api.DataVolume { return api.DataVolume(u[p]) }
	return api.DataUse{Letters: at(p2p.Letters), Comparing: at(p2p.Comparing), Carriers: at(p2p.Carriers), Connections: at(p2p.Connections)}
}

func dataUse(n *Node, _ api.NoArgs) (any, error) { return n.dataView(), nil }

// setData changes how much a day may cost.
func setData(n *Node, a api.DataSetArgs) (*groupState, any, error) {
	if a.CapBytes != 0 && (a.CapBytes < minCap || a.CapBytes > maxCap) {
		return nil, nil, code(api.CodeDataBounds)
	}
	b := engine.Batch{Puts: []engine.Record{{Table: tableProfile, Key: keyCap, Value: wire.Marshal(a.CapBytes)}}}
	if err := n.commitOwn(b); err != nil {
		return nil, nil, err
	}
	n.data.cap, n.data.warned, n.data.over = a.CapBytes, 0, 0
	return nil, n.dataView(), nil
}

// fetch looks for what is new now, and takes along what waits.
func fetch(n *Node, _ api.NoArgs) (*groupState, any, error) {
	if !n.online {
		return nil, nil, code(api.CodeNotRunning)
	}
	for _, g := range n.groups {
		g.poll.soon(n.now(), 1, true)
		g.carriers.soon(n.now(), 1)
		g.book.hurry(n.now())
	}
	return nil, api.Done{Done: true}, nil
}
