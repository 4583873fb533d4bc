package p2p

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	ma "github.com/multiformats/go-multiaddr"
)

// nearPort is the first of the ports that ListenNear draws from: IANA's for short
// use, to the last one there is.
const nearPort = 49152

// nearTries is how many ports are drawn until one is free.
const nearTries = 16

var errNotNear = errors.New("p2p: there is no listening for neighbours behind a proxy")

// ListenNear listens at a further TCP port, on all IPv4 addresses, for neighbours that
// hear of it in a local network (spec 62). The port is drawn from 49,152 to 65,535 each
// time, since one that stays would be known again in another network; the one before
// is given up, its links stay. It is not among Addrs.
func (h *Host) ListenNear() (port uint16, err error) {
	if !h.enter() {
		return 0, ErrClosed
	}
	defer h.work.Done()
	if h.proxy != nil {
		return 0, errNotNear
	}
	h.nearMu.Lock()
	defer h.nearMu.Unlock()
	for range nearTries {
		var b [2]byte
		rand.Read(b[:])
		port = nearPort | binary.BigEndian.Uint16(b[:])
		a, err := ma.NewMultiaddr(fmt.Sprintf("/ip4/0.0.0.0/tcp/%d", port))
		if err != nil {
			return 0, err
		}
		old := h.near.Load()
		h.near.Store(uint32(port)) // before it is there: it is never among Addrs
		if h.net.Swarm.Listen(a) == nil {
			if old != 0 {
				h.net.ListenClose(ma.StringCast(fmt.Sprintf("/ip4/0.0.0.0/tcp/%d", old)))
			}
			return port, nil
		}
		h.near.Store(old)
	}
	return 0, errors.New("p2p: no free port was found")
}

// isNear says whether a is at the port of ListenNear.
func (h *Host) isNear(a ma.Multiaddr) bool {
	port, err := a.ValueForProtocol(ma.P_TCP)
	return err == nil && h.near.Load() != 0 && port == fmt.Sprint(h.near.Load())
}

// DialNear is Dial to an address that anybody may have named. It proves keys of class
// Member alone: who listens there and holds an older key of the group, as somebody who
// was removed does, learns nothing by it.
func (h *Host) DialNear(ctx context.Context, addr string) (LinkID, error) {
	keys := slices.DeleteFunc(slices.Clone(h.currentKeys().Dial), func(k Key) bool { return k.Class != Member })
	return h.dial(ctx, addr, keys)
}
