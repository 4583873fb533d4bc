package api

// Person is somebody by id, with the name that they call themselves: empty until
// it came, and never a way to say whom a command means.
type Person struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Alike bool   `json:"alike,omitempty"` // another member's name looks the same: show the id
}

// MemberArgs name a member, by id or a prefix of it.
type MemberArgs struct {
	Group  string `json:"group,omitempty"`
	Member string `json:"member"`
}

// Organisers is who organises a group, and what waits for their agreement.
type Organisers struct {
	Organisers []Organiser `json:"organisers"`
	Open       []Proposal  `json:"open"`
	Need       int         `json:"need"`            // how many must agree
	Of         int         `json:"of"`              // of how many
	Paper      bool        `json:"paper"`           // there is a recovery paper
	Alarm      bool        `json:"alarm,omitempty"` // see GroupStatus.Alarm
}

// Organiser is one organiser of a group.
type Organiser struct {
	Person
	Self        bool     `json:"self,omitempty"`
	SuspendedBy []Person `json:"suspended_by"`
	Devices     []string `json:"devices"`           // those that act as organiser
	Returns     []Change `json:"returns,omitempty"` // suspended: what would count again, if reinstated by a proposal made now
}

// Proposal is a decision that is not made yet.
type Proposal struct {
	ID         string   `json:"id"`
	Decision   string   `json:"decision"` // one of the Decision constants
	By         Person   `json:"by"`
	Target     *Person  `json:"target,omitempty"`  // whom it is about
	Devices    []string `json:"devices,omitempty"` // DecisionOrganiser, DecisionDevices
	Policy     *Policy  `json:"policy,omitempty"`  // DecisionPolicy
	Undo       int      `json:"undo,omitempty"`    // DecisionExpel: how many acts of the target it takes back
	Voters     []Person `json:"voters"`
	Voted      bool     `json:"voted"` // this person did
	Have       int      `json:"have"`  // voices, of Need that it takes
	Need       int      `json:"need"`
	Of         int      `json:"of"`
	PaperVoted bool     `json:"paper_voted,omitempty"`
	PaperMay   bool     `json:"paper_may,omitempty"` // the recovery paper may speak for it
	Created    string   `json:"created"`             // by the clock of whom it came from
	// Returns is, for DecisionReinstate, what the target did as an organiser that
	// counts again once it is decided, oldest first.
	Returns []Change `json:"returns,omitempty"`
}

// What organisers decide together.
const (
	DecisionExpel       = "expel"
	DecisionReinstate   = "reinstate"
	DecisionOrganiser   = "organiser" // somebody becomes one
	DecisionDevices     = "devices"
	DecisionRecovery    = "recovery"     // there is a new recovery paper
	DecisionRecoveryEnd = "recovery_end" // the paper says nothing any more
	DecisionPolicy      = "policy"
)

// Proposed is where a decision stands once this person agreed to it.
type Proposed struct {
	ID        string `json:"id"`        // of the proposal
	Effective bool   `json:"effective"` // it is decided, and so
	Have      int    `json:"have"`
	Need      int    `json:"need"`
	Of        int    `json:"of"`
	PaperMay  bool   `json:"paper_may,omitempty"`
}

// ExpelArgs ask that an organiser or member be expelled by the organisers.
type ExpelArgs struct {
	Group  string   `json:"group,omitempty"`
	Member string   `json:"member"`
	Undo   []string `json:"undo,omitempty"` // ids of what they did, to take back
}

// VoteArgs agree to a proposal.
type VoteArgs struct {
	Group    string `json:"group,omitempty"`
	Proposal string `json:"proposal"`
}

// DevicesArgs ask for the devices of a member; of this person if empty.
type DevicesArgs struct {
	Group  string `json:"group,omitempty"`
	Member string `json:"member,omitempty"`
}

// Device is one phone or computer of a member.
type Device struct {
	ID        string `json:"id"`
	Member    string `json:"member"`
	Self      bool   `json:"self,omitempty"`      // the one that answers
	Operating bool   `json:"operating,omitempty"` // acts as organiser
	Removed   bool   `json:"removed,omitempty"`
	Added     string `json:"added,omitempty"` // empty: not known
}

// DeviceArgs name a device, by id or a prefix of it.
type DeviceArgs struct {
	Group  string `json:"group,omitempty"`
	Device string `json:"device"`
}

// DevicesSetArgs ask that an organiser acts with these devices only.
type DevicesSetArgs struct {
	Group   string   `json:"group,omitempty"`
	Member  string   `json:"member"`
	Devices []string `json:"devices"`
}

// Policy is what the organisers settled for their group.
type Policy struct {
	Posting    string `json:"posting"`     // PostingAll, PostingAuthors or PostingOrganisers
	PeriodDays int    `json:"period_days"` // after which keys are renewed: 1 to 7
	KeepDays   int    `json:"keep_days"`   // for which older keys are kept: 1 to 30
	History    string `json:"history"`     // HistoryNone or HistoryPinned
	HighRisk   bool   `json:"high_risk"`
	// AlertsWhileRenewing lets an alert go out before keys have been renewed.
	AlertsWhileRenewing bool `json:"alerts_while_renewing"`
	// Carriers are the addresses of letter carriers, without their tickets.
	Carriers []string `json:"carriers"`
}

// What a new member is given of earlier times.
const (
	HistoryNone   = "none"
	HistoryPinned = "pinned"
)

// PolicySetArgs ask for another policy. What is nil stays.
type PolicySetArgs struct {
	Group               string  `json:"group,omitempty"`
	Posting             *string `json:"posting,omitempty"`
	PeriodDays          *int    `json:"period_days,omitempty"`
	KeepDays            *int    `json:"keep_days,omitempty"`
	History             *string `json:"history,omitempty"`
	HighRisk            *bool   `json:"high_risk,omitempty"`
	AlertsWhileRenewing *bool   `json:"alerts_while_renewing,omitempty"`
	// Carriers replace those that are named: at most 4, with tickets where they are
	// needed. One that is named already keeps its ticket if none is given.
	Carriers *[]string `json:"carriers,omitempty"`
}

// Recovery says whether the group has a recovery paper.
type Recovery struct {
	Exists bool `json:"exists"`
}

// RecoverySetArgs ask that a paper replace the one there is. Key is the public
// half in hex; the words never come here. Empty: no paper counts any more.
type RecoverySetArgs struct {
	Group string `json:"group,omitempty"`
	Key   string `json:"key,omitempty"`
}

// RecoveryUseArgs let the paper speak for a proposal. Words are a secret.
type RecoveryUseArgs struct {
	Group    string `json:"group,omitempty"`
	Proposal string `json:"proposal"`
	Words    string `json:"words"`
}

// ChangesArgs ask for the newest changes of who may what, at most Limit of them;
// all if 0.
type ChangesArgs struct {
	Group string `json:"group,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// Change is one act: who did what to whom.
type Change struct {
	ID        string  `json:"id"`
	What      string  `json:"what"`               // one of the Change constants
	Decision  string  `json:"decision,omitempty"` // of ChangeProposed and votes
	By        Person  `json:"by"`
	Target    *Person `json:"target,omitempty"`
	Device    string  `json:"device,omitempty"`
	At        string  `json:"at"`             // by the clock of who did it
	Effective bool    `json:"effective"`      // it has its effect; a proposal: it is decided
	Open      bool    `json:"open,omitempty"` // a proposal that can be voted for
	// Twice says of a suspension that a device of its target signed two things under
	// one number: it was copied, or is in two hands.
	Twice bool `json:"twice,omitempty"`
}

// What a change is. New ones may come.
const (
	ChangeProposed      = "proposed"
	ChangeVoted         = "voted"
	ChangePaperVoted    = "paper_voted"
	ChangeSuspended     = "suspended"
	ChangeAdded         = "added"
	ChangeRemoved       = "removed"
	ChangeAuthor        = "author"    // may post now
	ChangeNoAuthor      = "no_author" // may not post any more
	ChangeDeviceRemoved = "device_removed"
	ChangeDeviceAdded   = "device_added"
	ChangeKeysRejected  = "keys_rejected"
	ChangeLeft          = "left"
	ChangeMerged        = "merged"
)

// Left is how leaving went. The group is gone from this device either way.
type Left struct {
	Done bool `json:"done"`
	// Told says that nobody takes this person for a member any more, or that another
	// device of the group was told and passes it on. False: an organiser must remove
	// this person.
	Told bool `json:"told"`
}
