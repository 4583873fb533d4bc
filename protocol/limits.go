package protocol

// Limits of a group and of its structures (spec 20 section 5).
const (
	MaxMembers          = 500
	MaxDevicesPerMember = 4
	MaxDevices          = 1_000
	MaxOrganisers       = 16
	MaxParents          = 16 // of an op
	MaxHeads            = 16 // governance or epoch heads that anything names
	MaxEpochParents     = 8
	MaxLanes            = 64
	MaxHeals            = 16
	MaxPages            = 84
	SmallGroup          = 48 // most devices for which boxes travel inline
)

// Limits of names and texts, in bytes of UTF-8 unless it says characters.
const (
	MaxNameChars  = 32  // a person's or a group's name, in characters
	MaxNameBytes  = 128 // the same, as sent
	MaxTitleChars = 200
	MaxBody       = 12_000
)

// Seconds.
const (
	DaySeconds       = 86_400
	MaxNoticeSeconds = 90 * DaySeconds // the furthest expiry of a notice
	MaxAheadSeconds  = 600             // a created_at further ahead is held
)

// Day is a day number: unix seconds divided by 86,400.
type Day = uint32

// DayOf returns the day of a time in unix seconds; 0 for times before 1970.
func DayOf(unix int64) Day {
	if unix < 0 {
		return 0
	}
	return Day(unix / DaySeconds)
}
