package p2p

import (
	"log/slog"

	"github.com/libp2p/go-libp2p/gologshim"
)

// libp2p and gossipsub write peer IDs and addresses to standard error, which on
// a phone is a log that other apps and a forensic lab can read. Their handler
// must be set before their first line, hence here.
func init() { gologshim.SetDefaultHandler(slog.DiscardHandler) }
