package api

import "encoding/json"

// Names of commands: the last part of the path, POST /v1/{command}.
const (
	CommandStatus      = "status"       // no arguments, Status
	CommandConnect     = "connect"      // ConnectArgs, Done
	CommandData        = "data"         // no arguments, Data
	CommandDataSet     = "data.set"     // DataSetArgs, Data
	CommandFetch       = "fetch"        // no arguments, Done
	CommandGroupCreate = "group.create" // GroupCreateArgs, GroupCreated
	CommandInvite      = "invite"       // InviteArgs, Invite
	CommandJoin        = "join"         // JoinArgs, Joined
	CommandRequests    = "requests"     // GroupArgs, []Request
	CommandApprove     = "approve"      // ApproveArgs, Done
	CommandMembers     = "members"      // GroupArgs, []Member
	CommandRemove      = "remove"       // RemoveArgs, Done
	CommandGrant       = "grant"        // GrantArgs, Done; RoleOrganiser: Proposed
	CommandLeave       = "leave"        // GroupArgs, Left
	CommandPost        = "post"         // PostArgs, Posted
	CommandEdit        = "edit"         // EditArgs, Posted
	CommandCancel      = "cancel"       // CancelArgs, Posted
	CommandPin         = "pin"          // PinArgs, Posted
	CommandHeld        = "held"         // GroupArgs, Held
	CommandSendNow     = "send-now"     // SendNowArgs, Posted
	CommandNotices     = "notices"      // NoticesArgs, []Notice
	CommandShow        = "show"         // ShowArgs, Shown

	CommandOrganisers    = "organisers"         // GroupArgs, Organisers
	CommandConfirm       = "organisers.confirm" // GroupArgs, Done
	CommandSuspend       = "suspend"            // MemberArgs, Done
	CommandReinstate     = "reinstate"          // MemberArgs, Proposed
	CommandExpel         = "expel"              // ExpelArgs, Proposed
	CommandVote          = "vote"               // VoteArgs, Proposed
	CommandDevices       = "devices"            // DevicesArgs, []Device
	CommandDevicesRemove = "devices.remove"     // DeviceArgs, Done
	CommandDevicesSet    = "devices.set"        // DevicesSetArgs, Proposed
	CommandPolicy        = "policy"             // GroupArgs, Policy
	CommandPolicySet     = "policy.set"         // PolicySetArgs, Proposed
	CommandRecovery      = "recovery"           // GroupArgs, Recovery
	CommandRecoverySet   = "recovery.set"       // RecoverySetArgs, Proposed
	CommandRecoveryUse   = "recovery.use"       // RecoveryUseArgs, Proposed
	CommandChanges       = "changes"            // ChangesArgs, []Change

	CommandBundleExport = "bundle.export" // BundleExportArgs, BundleExported
	CommandBundleImport = "bundle.import" // BundleImportArgs, BundleImported
)

// arguments makes empty arguments for each command. A name that is not here is
// not a command.
var arguments = map[string]func() any{
	CommandStatus:      func() any { return new(NoArgs) },
	CommandConnect:     func() any { return new(ConnectArgs) },
	CommandData:        func() any { return new(NoArgs) },
	CommandDataSet:     func() any { return new(DataSetArgs) },
	CommandFetch:       func() any { return new(NoArgs) },
	CommandGroupCreate: func() any { return new(GroupCreateArgs) },
	CommandInvite:      func() any { return new(InviteArgs) },
	CommandJoin:        func() any { return new(JoinArgs) },
	CommandRequests:    func() any { return new(GroupArgs) },
	CommandApprove:     func() any { return new(ApproveArgs) },
	CommandMembers:     func() any { return new(GroupArgs) },
	CommandRemove:      func() any { return new(RemoveArgs) },
	CommandGrant:       func() any { return new(GrantArgs) },
	CommandLeave:       func() any { return new(GroupArgs) },
	CommandPost:        func() any { return new(PostArgs) },
	CommandEdit:        func() any { return new(EditArgs) },
	CommandCancel:      func() any { return new(CancelArgs) },
	CommandPin:         func() any { return new(PinArgs) },
	CommandHeld:        func() any { return new(GroupArgs) },
	CommandSendNow:     func() any { return new(SendNowArgs) },
	CommandNotices:     func() any { return new(NoticesArgs) },
	CommandShow:        func() any { return new(ShowArgs) },

	CommandOrganisers:    func() any { return new(GroupArgs) },
	CommandConfirm:       func() any { return new(GroupArgs) },
	CommandSuspend:       func() any { return new(MemberArgs) },
	CommandReinstate:     func() any { return new(MemberArgs) },
	CommandExpel:         func() any { return new(ExpelArgs) },
	CommandVote:          func() any { return new(VoteArgs) },
	CommandDevices:       func() any { return new(DevicesArgs) },
	CommandDevicesRemove: func() any { return new(DeviceArgs) },
	CommandDevicesSet:    func() any { return new(DevicesSetArgs) },
	CommandPolicy:        func() any { return new(GroupArgs) },
	CommandPolicySet:     func() any { return new(PolicySetArgs) },
	CommandRecovery:      func() any { return new(GroupArgs) },
	CommandRecoverySet:   func() any { return new(RecoverySetArgs) },
	CommandRecoveryUse:   func() any { return new(RecoveryUseArgs) },
	CommandChanges:       func() any { return new(ChangesArgs) },

	CommandBundleExport: func() any { return new(BundleExportArgs) },
	CommandBundleImport: func() any { return new(BundleImportArgs) },
}

// Known says whether a command has this name.
func Known(command string) bool { return arguments[command] != nil }

// CheckArgs says whether arguments can be read as those of the command. The
// error is CodeUnknownCommand or CodeBadRequest. A Server asks it first.
func CheckArgs(command string, args json.RawMessage) error {
	fresh := arguments[command]
	if fresh == nil {
		return &Error{Code: CodeUnknownCommand, Text: "there is no such command"}
	}
	return DecodeArgs(args, fresh())
}

// NoArgs are the arguments of a command that takes none.
type NoArgs struct{}

// GroupArgs name a group, by its id or a prefix of it.
type GroupArgs struct {
	Group string `json:"group,omitempty"`
}

// Done is the result of a command that returns nothing else: it is saved.
type Done struct {
	Done bool `json:"done"`
}

// Status is how the profile stands.
type Status struct {
	Running bool          `json:"running"` // false: the profile was opened without a network
	Peers   int           `json:"peers"`   // devices connected now, over all groups
	Groups  []GroupStatus `json:"groups"`
	Saver   bool          `json:"saver,omitempty"` // it was told to spend little data
	Data    *Data         `json:"data,omitempty"`  // what the network cost
}

// GroupStatus is how one group stands on this device.
type GroupStatus struct {
	ID      string `json:"id"`
	Name    string `json:"name"` // empty while joining
	Members int    `json:"members"`
	Epoch   uint32 `json:"epoch"`   // generation of the key that new notices are sealed under
	Unsent  int    `json:"unsent"`  // own messages that nobody else holds yet
	Missing int    `json:"missing"` // messages known to exist and not held

	Removed   bool     `json:"removed,omitempty"`   // this person is no longer in the group
	Suspended []Person `json:"suspended,omitempty"` // organisers who are
	// Waiting says that what is written is kept here until keys have been renewed,
	// Because of which change, if that is known.
	Waiting bool    `json:"waiting,omitempty"`
	Because *Change `json:"because,omitempty"`
	// RenewedBy are the organisers of whom a phone renews the keys once it is online,
	// OthersRenew says that phones of others do where none of theirs comes.
	RenewedBy   []Person `json:"renewed_by,omitempty"`
	OthersRenew bool     `json:"others_renew,omitempty"`
	Held        int      `json:"held,omitempty"` // what this person wrote and waits: see Held
	// Alarm says that a decision of the organisers that held for days does not hold
	// any more. What is written is kept here until somebody looked, and confirmed.
	Alarm bool `json:"alarm,omitempty"`
	// Carriers are the letter carriers that the group names, while palabre runs.
	Carriers []CarrierStatus `json:"carriers,omitempty"`
}

// CarrierStatus is what this device knows of a letter carrier.
type CarrierStatus struct {
	Address   string `json:"address"`             // without a ticket
	Answered  string `json:"answered,omitempty"`  // when it did last, as RFC 3339
	Unreached bool   `json:"unreached,omitempty"` // the last try came to nothing
	// Faults counts what an honest one does not do: to keep back what it has, to lose
	// what it took, to give what nobody asked for.
	Faults int `json:"faults,omitempty"`
}

// ConnectArgs give an address to dial, as a multiaddr in text. It is kept and
// tried again later.
type ConnectArgs struct {
	Addr string `json:"addr"`
}

// Event is one thing that happened. It holds no content of notices.
type Event struct {
	Event string `json:"event"`           // one of the Event constants
	Group string `json:"group,omitempty"` // group id
	ID    string `json:"id,omitempty"`    // of the notice, request, member or change
	Own   bool   `json:"own,omitempty"`   // caused on this device

	Change *Change   `json:"change,omitempty"` // of EventAuthority: what was done
	Stands *Proposed `json:"stands,omitempty"` // the proposal that it was about, if still open
	// Told says that an EventAuthority tells the same better: passed over by faces
	// that show those.
	Told bool `json:"told,omitempty"`
}

// Kinds of events. New ones may come; pass over those that you do not know.
const (
	EventWatching = "watching" // the first: nothing after it is missed
	EventNotice   = "notice"   // a notice is new
	EventChanged  = "changed"  // a notice was edited, cancelled or is in conflict
	EventExpired  = "expired"
	EventMembers  = "members" // somebody was added, removed or given a role
	EventRequest  = "request" // somebody asks to join
	EventJoined   = "joined"  // this device is in the group
	EventRemoved  = "removed" // this person is no longer in the group
	EventTaken    = "taken"   // all own messages were taken by somebody

	EventAuthority = "authority" // an act or proposal got, changed or lost its effect: see Change
	EventAlarm     = "alarm"     // see GroupStatus.Alarm

	EventDataLow     = "data_low"     // of today's cap 80 in 100 are used; once a day
	EventDataReached = "data_reached" // all of it is: see Data.Reached
)
