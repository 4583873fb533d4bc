package engine

import (
	"encoding/binary"

	"github.com/palabre-app/palabre/identity"
	"github.com/palabre-app/palabre/protocol"
)

// Tables of a group's storage. Numbers are part of the disk format (spec 65
// section 7).
const (
	tableMeta      Table = 1  // "self", "chain", "genesis", "join", "sending", "addresses", "clock", "alarm", "frozen", "cut", "out", "missed"
	tableOps       Table = 2  // op id -> op frame
	tableKeyFrames Table = 3  // item id -> key package or key update frame
	tableEpochs    Table = 4  // epoch id -> epochRecord
	tableSecrets   Table = 5  // epoch id -> secrets of the epoch and its tree
	tableChains    Table = 6  // epoch id, device id -> message keys of one sender
	tableEnvelopes Table = 7  // see entry.key -> envelope
	tableItems     Table = 8  // content id -> itemRecord; shredded when the text expires
	tableUnsent    Table = 9  // envelope id -> content id it carries, if any, and 1 if it is to be sealed again: own, and taken by nobody yet
	tableDrafts    Table = 10 // number -> draft that waits for an epoch
	tableWaiting   Table = 11 // envelope id -> its size: held, cannot be judged yet
	tableKEM       Table = 12 // counter -> own private keys
	tableInvites   Table = 13 // invite id -> invite
	tableRequests  Table = 14 // request id -> request
	tableRescue    Table = 15 // mailbox, index -> envelope for a joiner
	tableLinks     Table = 16 // device id, chain position -> link of its chain of messages
	tableShares    Table = 17 // epoch id, device id -> bytes of its envelopes that were taken
	tableDecided   Table = 18 // op id of an effective decision -> Time at which it was first seen so
	tableSeeds     Table = 19 // device id, counter -> rescue seed: own ones, and on an operating device everybody's
	tablePages     Table = 20 // epoch id, page index -> envelope of a page that travels apart
	tableTwice     Table = 21 // device id -> newest day on which it said two things
	tableServed    Table = 22 // epoch id, device id -> until when it counts as handed over, and how
	tableFerries   Table = 23 // a ferry's peer id -> the last day on which everything was compared with it
	tableClosed    Table = 24 // see entry.key -> 1: a message that never opens here
	tablePagePuts  Table = 25 // as of a page -> id of its envelope and the signature by which this device may leave it at a ferry: own pages
)

var (
	keySelf      = []byte("self")
	keyChain     = []byte("chain")
	keyGenesis   = []byte("genesis")
	keyJoin      = []byte("join")
	keySending   = []byte("sending")
	keyAddresses = []byte("addresses")
	keyClock     = []byte("clock")
	keyAlarm     = []byte("alarm")
	keyFrozen    = []byte("frozen")
	keyCut       = []byte("cut") // never stays: see cutLog
	keyMissed    = []byte("missed")
	keyOut       = []byte("out") // of a device that is out
)

func chainKey(e protocol.EpochID, d identity.DeviceID) []byte {
	return append(e[:], d[:]...)
}

func numberKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func mailboxKey(m protocol.MailboxID, index uint32) []byte {
	return binary.BigEndian.AppendUint32(m[:], index)
}
