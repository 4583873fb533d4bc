package p2p

import (
	"errors"
	"time"
	_ "unsafe" // for go:linkname

	_ "github.com/libp2p/go-libp2p/p2p/transport/quicreuse" // holds the variable
	"github.com/quic-go/quic-go"
)

// Settings of every QUIC connection, the same on all devices because the idle
// timeout is the smaller of the two sides' (spec 60 section 6).
const (
	quicKeepAlive = 25 * time.Second
	quicIdle      = 60 * time.Second
)

// quicConfig is libp2p's own variable. libp2p has no option for these three
// settings, and without them path MTU probes double the cost of a connection
// and keep-alives that of an idle one. If the symbol moves, this variable
// becomes one of ours, stays nil, and quicSettings fails.
//
//go:linkname quicConfig github.com/libp2p/go-libp2p/p2p/transport/quicreuse.quicConfig
var quicConfig *quic.Config

// The change is made in init, before any connection can read the variable.
func init() {
	if quicConfig == nil {
		return
	}
	quicConfig.DisablePathMTUDiscovery = true
	quicConfig.KeepAlivePeriod = quicKeepAlive
	quicConfig.MaxIdleTimeout = quicIdle
}

func quicSettings() error {
	if quicConfig == nil {
		return errors.New("p2p: this libp2p keeps its quic settings elsewhere")
	}
	return nil
}
