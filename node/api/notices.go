package api

// Kinds of notices. A list may hold others, that only a newer version can show.
const (
	KindAnnouncement = "announcement"
	KindMeeting      = "meeting"
)

// How urgent a notice is.
const (
	UrgencyInfo      = "info"
	UrgencyImportant = "important"
	UrgencyAlert     = "alert"
)

// Statuses of notices.
const (
	StatusActive    = "active"
	StatusCancelled = "cancelled"
	StatusConflict  = "conflict" // edited at the same time in several ways; Shown.Versions has them
	StatusExpired   = "expired"
)

// Text is a notice in one language.
type Text struct {
	Lang  string `json:"lang"` // BCP 47: language, script, region
	Title string `json:"title"`
	Body  string `json:"body"`
}

// Meeting is when and where. Times are RFC 3339, with any offset in arguments
// and in UTC in results; the zone says how to show them.
type Meeting struct {
	Start string `json:"start"`
	End   string `json:"end"` // empty if open
	TZ    string `json:"tz"`  // IANA name, such as Africa/Dakar
	Place string `json:"place"`
	Link  string `json:"link,omitempty"` // where to meet online: https, or an onion service
}

// PostArgs post a notice.
type PostArgs struct {
	Group          string   `json:"group,omitempty"`
	Kind           string   `json:"kind"`
	Texts          []Text   `json:"texts"`                     // one per language, the original first
	Urgency        string   `json:"urgency,omitempty"`         // UrgencyInfo if empty
	ExpiresSeconds int64    `json:"expires_seconds,omitempty"` // from now; 0: as long as its kind allows
	Meeting        *Meeting `json:"meeting,omitempty"`         // for KindMeeting only
	// SendNow sends an alert even while the group's keys are being renewed, if at most
	// so many removed people can read it then. Nil: it waits.
	SendNow *int `json:"send_now,omitempty"`
}

// Posted is the id of the notice that was saved, changed or cancelled: the one
// that show, edit and cancel take, not that of a version. It goes out when others
// can be reached.
type Posted struct {
	ID string `json:"id"`
	// Waiting says that it is saved and goes out when the group's keys are renewed,
	// which another phone may have to do. A notice gets its id then: until that
	// time ID is empty.
	Waiting bool `json:"waiting,omitempty"`
	// Expires is when a new notice goes: no later than the group keeps texts.
	Expires string `json:"expires,omitempty"`
	Held    string `json:"held,omitempty"` // of what waits: the id that SendNowArgs take
	// MaySendNow says of an alert that waits that its author may send it now, Readers
	// who of those removed can read it then.
	MaySendNow bool     `json:"may_send_now,omitempty"`
	Readers    []Person `json:"readers,omitempty"`
}

// SendNowArgs send an alert that waits, if at most so many removed people can read
// it.
type SendNowArgs struct {
	Group   string `json:"group,omitempty"`
	ID      string `json:"id"` // of HeldNotice
	Readers int    `json:"readers"`
}

// Held is what this person wrote and waits for keys to be renewed.
type Held struct {
	Held       []HeldNotice `json:"held"`         // oldest first
	MaySendNow bool         `json:"may_send_now"` // the alerts among them
	Readers    []Person     `json:"readers"`      // of those removed, who can read an alert that is sent now
}

// HeldNotice is one thing that waits.
type HeldNotice struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`            // KindAnnouncement, KindMeeting, or KindOther
	Title   string `json:"title,omitempty"` // of a notice
	Alert   bool   `json:"alert,omitempty"`
	Created string `json:"created"`
	Expires string `json:"expires"`
}

// KindOther is what waits and is no notice: a change, a cancellation, a name.
const KindOther = "other"

// PinArgs put a notice on top for everybody, or take it down.
type PinArgs struct {
	Group string `json:"group,omitempty"`
	ID    string `json:"id"`
	Off   bool   `json:"off,omitempty"`
}

// EditArgs change a notice. What is nil or empty stays as it is.
type EditArgs struct {
	Group string `json:"group,omitempty"`
	ID    string `json:"id"`
	// Title and Body change the text in Lang, or the original if Lang is empty.
	// A Lang that the notice does not have is added.
	Lang           string       `json:"lang,omitempty"`
	Title          *string      `json:"title,omitempty"`
	Body           *string      `json:"body,omitempty"`
	Texts          []Text       `json:"texts,omitempty"` // whole texts, replaced or added by language
	Urgency        *string      `json:"urgency,omitempty"`
	ExpiresSeconds *int64       `json:"expires_seconds,omitempty"` // from now
	Meeting        *MeetingEdit `json:"meeting,omitempty"`
}

// MeetingEdit is what changes of a meeting. An empty End, Place or Link takes
// it away.
type MeetingEdit struct {
	Start *string `json:"start,omitempty"`
	End   *string `json:"end,omitempty"`
	TZ    *string `json:"tz,omitempty"`
	Place *string `json:"place,omitempty"`
	Link  *string `json:"link,omitempty"`
}

// CancelArgs cancel a notice.
type CancelArgs struct {
	Group  string `json:"group,omitempty"`
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// NoticesArgs list notices, newest first.
type NoticesArgs struct {
	Group string   `json:"group,omitempty"`
	All   bool     `json:"all,omitempty"`   // also cancelled, conflicting and expired ones
	Langs []string `json:"langs,omitempty"` // the reader's languages, best first
}

// Notice is a notice in the first of the reader's languages that it has.
type Notice struct {
	ID         string   `json:"id"`
	Kind       string   `json:"kind"`
	Title      string   `json:"title"`
	Body       string   `json:"body"`
	Lang       string   `json:"lang"`        // of Title and Body
	Langs      []string `json:"langs"`       // all that it has, the original first
	Author     string   `json:"author"`      // member id
	AuthorName string   `json:"author_name"` // as the author calls themselves
	Urgency    string   `json:"urgency"`
	Status     string   `json:"status"`
	Pinned     bool     `json:"pinned,omitempty"` // by an organiser
	Version    uint64   `json:"version"`          // 1 as posted, one more with each edit
	Created    string   `json:"created"`          // by the author's clock
	Expires    string   `json:"expires"`
	Meeting    *Meeting `json:"meeting,omitempty"` // of a meeting only
}

// ShowArgs ask for one notice.
type ShowArgs struct {
	Group string `json:"group,omitempty"`
	ID    string `json:"id"`
	Lang  string `json:"lang,omitempty"` // for Title and Body
}

// Shown is one notice with all that is known of it.
type Shown struct {
	Notice
	Texts           []Text    `json:"texts"`                  // every language, the original first
	Versions        []Version `json:"versions,omitempty"`     // the other sides of a conflict
	Incomplete      bool      `json:"incomplete,omitempty"`   // a newer version is known of and has not come
	CancelledBy     string    `json:"cancelled_by,omitempty"` // member id
	CancelledByName string    `json:"cancelled_by_name,omitempty"`
	Reason          string    `json:"reason,omitempty"` // why it was cancelled
}

// Version is another version of a notice, made at the same time.
type Version struct {
	Version    uint64   `json:"version"`
	Editor     string   `json:"editor"` // member id
	EditorName string   `json:"editor_name"`
	Created    string   `json:"created"`
	Expires    string   `json:"expires"`
	Urgency    string   `json:"urgency"`
	Texts      []Text   `json:"texts"`
	Meeting    *Meeting `json:"meeting,omitempty"`
}
