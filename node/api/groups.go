package api

// GroupCreateArgs make a group.
type GroupCreateArgs struct {
	Name    string `json:"name"`
	Posting string `json:"posting,omitempty"` // who may post: PostingAll if empty
}

// Who may post in a group.
const (
	PostingOrganisers = "organisers"
	PostingAuthors    = "authors" // and organisers
	PostingAll        = "all"
)

// GroupCreated is the id of the new group.
type GroupCreated struct {
	Group string `json:"group"`
}

// InviteArgs make an invite link.
type InviteArgs struct {
	Group          string `json:"group,omitempty"`
	Uses           int    `json:"uses,omitempty"`            // people; 1 if 0
	ExpiresSeconds int64  `json:"expires_seconds,omitempty"` // 72 hours if 0
	// AutoApprove lets people in without asking, while the node that made the
	// link runs, for an hour at most.
	AutoApprove bool `json:"auto_approve,omitempty"`
}

// Invite is a link that lets people ask to join. Whoever has it can ask.
type Invite struct {
	Link string `json:"link"`
}

// JoinArgs ask to join by a link.
type JoinArgs struct {
	Link        string `json:"link"`
	Name        string `json:"name,omitempty"`         // the profile's if empty
	WaitSeconds int    `json:"wait_seconds,omitempty"` // how long to wait for the answer, at most MaxWaitSeconds
}

// MaxWaitSeconds is the longest that a join waits before it says StateWaiting.
const MaxWaitSeconds = 300

// Joined is where joining stands. The running node goes on by itself.
type Joined struct {
	Group string `json:"group"`
	State string `json:"state"` // StateJoined or StateWaiting
}

// States of joining.
const (
	StateJoined  = "joined"
	StateWaiting = "waiting" // for an organiser, or for the network
)

// Request is somebody who asks to join. Compare the words before approving.
type Request struct {
	ID      string `json:"id"`
	Group   string `json:"group"`
	Name    string `json:"name"`
	Words   string `json:"words"`   // six safety words, with spaces between
	Created string `json:"created"` // when it came here
	// Expired says that the link is used up or has run out meanwhile: somebody may
	// have passed it on.
	Expired bool `json:"expired,omitempty"`
}

// ApproveArgs let somebody in.
type ApproveArgs struct {
	Group string `json:"group,omitempty"`
	ID    string `json:"id"` // of the request
}

// Member is somebody in the group.
type Member struct {
	ID    string `json:"id"`
	Name  string `json:"name"`  // as they call themselves; empty until it came
	Role  string `json:"role"`  // RoleOrganiser, RoleAuthor or RoleReader
	Words string `json:"words"` // six safety words, with spaces between

	Suspended bool `json:"suspended,omitempty"` // an organiser who is
	// Twice: one of their devices signed two things in one place. It was copied, or is
	// used to tell people different things.
	Twice bool `json:"twice,omitempty"`
}

// Roles of members.
const (
	RoleOrganiser = "organiser"
	RoleAuthor    = "author"
	RoleReader    = "reader"
)

// RemoveArgs remove somebody from the group.
type RemoveArgs struct {
	Group  string `json:"group,omitempty"`
	Member string `json:"member"` // id
}

// GrantArgs give somebody a role: RoleAuthor at once, RoleOrganiser once the
// organisers agree.
type GrantArgs struct {
	Group  string `json:"group,omitempty"`
	Member string `json:"member"` // id
	Role   string `json:"role"`
}
